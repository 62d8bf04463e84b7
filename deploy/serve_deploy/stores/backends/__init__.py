"""What each kind of store can do, behind one interface."""
