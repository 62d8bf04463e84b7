"""Remove what nothing serves, needs or names any more: versions of repositories, snapshots of stores."""
