"""What nobody requests: scheduled refreshes and live polls."""
