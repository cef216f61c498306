"""`pytest notebooks` runs every notebook of the course."""
