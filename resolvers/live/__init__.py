"""Live data: latest prices, price updates and refresh runs for subscribers."""
