"""Names of common coins and currencies, shown until the first refresh."""

from collections.abc import Sequence

from models.tables import Coin, Currency

_COINS = {
    "bitcoin": ("btc", "Bitcoin"),
    "ethereum": ("eth", "Ethereum"),
    "tether": ("usdt", "Tether"),
    "ripple": ("xrp", "XRP"),
    "binancecoin": ("bnb", "BNB"),
    "solana": ("sol", "Solana"),
    "usd-coin": ("usdc", "USDC"),
    "dogecoin": ("doge", "Dogecoin"),
    "cardano": ("ada", "Cardano"),
    "tron": ("trx", "TRON"),
    "chainlink": ("link", "Chainlink"),
}
_CURRENCIES = {
    "usd": ("US Dollar", "$"),
    "eur": ("Euro", "€"),
    "gbp": ("British Pound", "£"),
    "jpy": ("Japanese Yen", "¥"),
    "aud": ("Australian Dollar", "A$"),
    "brl": ("Brazilian Real", "R$"),
    "cad": ("Canadian Dollar", "C$"),
    "chf": ("Swiss Franc", "CHF"),
    "cny": ("Chinese Yuan", "CN¥"),
    "czk": ("Czech Koruna", "Kč"),
    "dkk": ("Danish Krone", "kr"),
    "hkd": ("Hong Kong Dollar", "HK$"),
    "huf": ("Hungarian Forint", "Ft"),
    "idr": ("Indonesian Rupiah", "Rp"),
    "ils": ("Israeli Shekel", "₪"),
    "inr": ("Indian Rupee", "₹"),
    "krw": ("South Korean Won", "₩"),
    "mxn": ("Mexican Peso", "MX$"),
    "myr": ("Malaysian Ringgit", "RM"),
    "nok": ("Norwegian Krone", "kr"),
    "nzd": ("New Zealand Dollar", "NZ$"),
    "php": ("Philippine Peso", "₱"),
    "pln": ("Polish Złoty", "zł"),
    "sek": ("Swedish Krona", "kr"),
    "sgd": ("Singapore Dollar", "S$"),
    "thb": ("Thai Baht", "฿"),
    "try": ("Turkish Lira", "₺"),
    "twd": ("New Taiwan Dollar", "NT$"),
    "uah": ("Ukrainian Hryvnia", "₴"),
    "zar": ("South African Rand", "R"),
    "btc": ("Bitcoin", "₿"),
    "eth": ("Ether", "Ξ"),
}


def coins(ids: Sequence[str]) -> list[Coin]:
    """Make a row for each id; an unknown coin has its id as name and symbol."""
    return [
        Coin(id=coin_id, symbol=symbol, name=name)
        for coin_id in ids
        for symbol, name in [_COINS.get(coin_id, (coin_id, coin_id))]
    ]


def currencies(codes: Sequence[str]) -> list[Currency]:
    """Make a row for each code; an unknown currency has its code as name and symbol."""
    return [
        Currency(code=code, name=name, symbol=symbol)
        for code in codes
        for name, symbol in [_CURRENCIES.get(code, (code.upper(), code.upper()))]
    ]
