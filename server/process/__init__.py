"""`serve --workers N`: a parent that starts, supervises and feeds processes which all serve."""
