"""The coins and currencies of the simulated market, with invented price levels."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SimulatedCoin:
    """One coin of the simulated market.

    `level` is the price in USD that the coin fluctuates around, `volatility` the standard deviation
    of its own daily change, `beta` its share of the whole market's movement. `turnover` is the
    24-hour volume as a share of the market cap. Unranked coins have a market cap of 0 and no
    volumes. `listed_days` is the number of days since the coin was listed; None: always listed.
    """

    id: str
    symbol: str
    name: str
    level: float
    volatility: float
    beta: float
    supply: float
    turnover: float
    about: str
    website: str = ""
    image: int = 0
    ranked: bool = True
    listed_days: int | None = None

    @property
    def description(self) -> str:
        """A description in CoinGecko's style: HTML links and Windows line ends."""
        if not self.about:
            return ""
        link = f'<a href="{self.website}" rel="nofollow">{self.name}</a>'
        return f"{link} {self.about}\r\n\r\nThe prices shown here are <b>simulated</b>."


_MAJORS = (
    SimulatedCoin(
        "bitcoin", "btc", "Bitcoin", 60_000, 0.012, 1.0, 19.8e6, 0.03,
        "is a peer-to-peer electronic cash system secured by proof of work.",
        "https://bitcoin.org/", 1,
    ),
    SimulatedCoin(
        "ethereum", "eth", "Ethereum", 3_000, 0.018, 1.2, 120.4e6, 0.05,
        "runs programs called <i>smart contracts</i> &amp; is secured by proof of stake.",
        "https://ethereum.org/", 279,
    ),
    SimulatedCoin(
        "tether", "usdt", "Tether", 1.0, 0.0001, 0.0, 112e9, 0.5,
        "is a token meant to be worth one US dollar.",
        "https://tether.to/", 325,
    ),
    SimulatedCoin(
        "ripple", "xrp", "XRP", 0.6, 0.025, 1.0, 55.6e9, 0.03,
        "is the native asset of the XRP Ledger.",
        "https://xrpl.org/", 44,
    ),
    SimulatedCoin(
        "binancecoin", "bnb", "BNB", 550, 0.014, 0.9, 147e6, 0.02,
        "pays the fees of BNB Chain.",
        "https://www.bnbchain.org/", 825,
    ),
    SimulatedCoin(
        "solana", "sol", "Solana", 140, 0.03, 1.4, 465e6, 0.04,
        "is a network made for <em>many</em> transactions a second.",
        "https://solana.com/", 4128,
    ),
    SimulatedCoin(
        "usd-coin", "usdc", "USDC", 1.0, 0.00008, 0.0, 34e9, 0.2,
        "is a token redeemable for one US dollar.",
        "https://www.circle.com/usdc", 6319,
    ),
    SimulatedCoin(
        "dogecoin", "doge", "Dogecoin", 0.12, 0.035, 1.4, 145e9, 0.06,
        "began as a joke about a dog &amp; stayed.",
        "https://dogecoin.com/", 5,
    ),
    SimulatedCoin(
        "cardano", "ada", "Cardano", 0.4, 0.025, 1.2, 35.7e9, 0.03,
        "is a proof-of-stake network built from reviewed research.",
        "https://cardano.org/", 975,
    ),
    SimulatedCoin(
        "tron", "trx", "TRON", 0.13, 0.012, 0.5, 87e9, 0.03,
        "is a network known for moving stablecoins.",
        "https://tron.network/", 1094,
    ),
    SimulatedCoin(
        "chainlink", "link", "Chainlink", 13, 0.028, 1.3, 587e6, 0.04,
        "brings data from outside to blockchains.",
        "https://chain.link/", 877,
    ),
)  # fmt: skip

_ODD_ONES = (
    # Another coin with bitcoin's symbol, and a description that must be sanitized.
    SimulatedCoin(
        "batcoin", "btc", "Batcoin", 0.0004, 0.06, 0.8, 9e9, 0.01,
        "flies at night.<script>alert(1)</script>",
        "https://batcoin.example/", 9001,
    ),
    SimulatedCoin(
        "wren-protocol", "wren", "Wren Protocol", 2.4, 0.04, 1.1, 80e6, 0.05,
        "shares its symbol with another coin.",
        "https://wren-protocol.example/", 9002,
    ),
    SimulatedCoin("wren-finance", "wren", "Wren Finance", 0.031, 0.05, 1.1, 2e9, 0.02, ""),
    SimulatedCoin(
        "maple-hat", "maple", "Maple Hat", 0.00006, 0.08, 0.5, 1e12, 0.01,
        "is too small to be ranked.",
        "https://maple-hat.example/", 9003, ranked=False,
    ),
    SimulatedCoin(
        "fresh-mint", "mint", "Fresh Mint", 0.85, 0.07, 0.9, 300e6, 0.4,
        "was listed a week ago.",
        "https://fresh-mint.example/", 9004, listed_days=7,
    ),
)  # fmt: skip

COINS = {coin.id: coin for coin in (*_MAJORS, *_ODD_ONES)}

# Units of each currency per US dollar: the level that its rate fluctuates around.
CURRENCIES = {
    "usd": 1.0, "eur": 0.92, "gbp": 0.79, "jpy": 151.0, "aud": 1.52, "brl": 5.1, "cad": 1.37,
    "chf": 0.9, "cny": 7.2, "inr": 83.5, "krw": 1370.0, "mxn": 17.0, "sek": 10.6, "sgd": 1.35,
    "zar": 18.7,
}  # fmt: skip
