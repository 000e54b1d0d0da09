"""Text that anyone may see: escaped, counted, shortened, and the settings of a view."""
