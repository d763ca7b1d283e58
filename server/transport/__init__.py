"""uvicorn's HTTP and WebSocket protocols with bounds on the memory and time of one client."""
