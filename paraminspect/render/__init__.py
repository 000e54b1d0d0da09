"""Report to text, one file a format. Nothing here imports torch; only the table knows about width and colour."""
