"""`coingraph simulate`: serves the simulated CoinGecko."""

import uvicorn

from server.cli.startup import one_line_errors, read_settings
from simulator import SimulatorOptions, create_simulator


def simulate(*, host: str, port: int, seed: int, per_minute: int, key: str | None) -> int:
    """Serve the simulator until a signal arrives; return the exit status."""
    with one_line_errors():
        read_settings()
    options = SimulatorOptions(
        seed=seed,
        requests_per_minute=per_minute,
        api_key=key,
        plan="demo" if key else "keyless",
    )
    uvicorn.run(create_simulator(options), host=host, port=port, log_config=None, access_log=False)
    return 0
