"""The charts of the HTML page, drawn as SVG: pure geometry, coloured by the page's style."""
