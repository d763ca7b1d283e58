"""uvicorn's protocols, with bounds on what one client can make them hold."""
