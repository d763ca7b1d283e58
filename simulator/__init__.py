"""A CoinGecko-compatible server with a simulated market, for demos and tests.

It reproduces CoinGecko's known behaviour and its irregularities: samples minutes past the hour,
empty and doubled hours, nulls, arrays of unequal length, six shapes of error bodies, rate limits.
A `Fault` injects further errors. All prices are invented.
"""

from simulator.app import SimulatorApp, create_simulator
from simulator.faults import Fault
from simulator.gate import LoggedRequest
from simulator.options import SimulatorOptions
from simulator.serving import Simulator, run_simulator

__all__ = [
    "Fault",
    "LoggedRequest",
    "Simulator",
    "SimulatorApp",
    "SimulatorOptions",
    "create_simulator",
    "run_simulator",
]
