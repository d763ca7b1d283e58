"""A server that speaks CoinGecko's API about an invented market: for demos and tests.

It reproduces what CoinGecko is known to do, the awkward parts included: samples minutes past the
hour, empty and doubled hours, nulls, arrays of unequal length, six shapes of error bodies, rate
limits. Anything worse can be asked for with a `Fault`. All prices are made up.
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
