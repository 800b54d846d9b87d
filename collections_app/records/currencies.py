"""The codes and signs of currencies, and how amounts in them are written.

Codes are those of ISO 4217. "$" could be any of twenty currencies, so it has no code.
"""


def _words(text: str) -> list[str]:
    return text.split()


CODES = frozenset(
    _words("""
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN
    BZD CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS
    GIP GMD GNF GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW
    KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN
    NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK
    SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS
    VED VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWL
    """)
)
# Pairs of a sign and its code, or its usual form if several currencies share it. Spaces are left out.
_PAIRS = _words("""
    $ $  C$ C$  ¥ ¥  ￥ ¥  元 元  lei lei  Fr. Fr.  kr kr  kr. kr  Kr kr  Rs Rs  Rs. Rs  ₨ Rs
    € EUR  Euro EUR  euro EUR  £ GBP  ₹ INR  ₩ KRW  원 KRW  ₫ VND  đ VND  ฿ THB  ₱ PHP  ₽ RUB  руб RUB
    руб. RUB  ₺ TRY  TL TRY  ₴ UAH  ₦ NGN  ₪ ILS  ₸ KZT  ৳ BDT  ₾ GEL  円 JPY  JP¥ JPY  CN¥ CNY
    د.إ AED  ر.س SAR  A$ AUD  AU$ AUD  US$ USD  U$S USD  CA$ CAD  NZ$ NZD  S$ SGD  HK$ HKD  NT$ TWD
    MX$ MXN  R$ BRL  R ZAR  RM MYR  Rp IDR  Rp. IDR  zł PLN  Kč CZK  Ft HUF  SFr. CHF  лв BGN  лв. BGN
""")  # noqa: RUF001  # not Latin
_SIGNS = dict(zip(_PAIRS[::2], _PAIRS[1::2], strict=True))
# In amounts of these currencies, "1,299" or "1.299" is always more than a thousand.
_WITH_COMMAS = frozenset(
    _words("$ ¥ 元 Rs AED AUD CAD CNY GBP HKD ILS INR JPY KRW MXN MYR NGN NZD PHP PKR SAR SGD THB TWD USD")
)
_WITH_POINTS = frozenset(_words("kr BRL CLP COP DKK HUF IDR ISK JPY KRW NOK PYG SEK VND"))

# Amounts in these currencies have no decimals.
_WITHOUT_DECIMALS = frozenset(_words("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"))


def code_of(text: str) -> str | None:
    """Return a currency's code, or its sign if it has none, "" for no text, or None for any other text."""
    compact = text.replace(" ", "")
    if not compact or compact in CODES:
        return compact
    if compact in _SIGNS:
        return _SIGNS[compact]
    for code, sign in ((compact[:3], compact[3:]), (compact[-3:], compact[:-3])):  # "AUD $"
        if code in CODES and sign in _SIGNS:
            return code
    return None


def separates_thousands(code: str, separator: str) -> bool:
    """Whether a comma or point before three digits always separates thousands in amounts of this currency."""
    return code in (_WITH_COMMAS if separator == "," else _WITH_POINTS)


def decimals_of(code: str) -> int:
    """Return how many decimals an amount in this currency has at least."""
    return 0 if code in _WITHOUT_DECIMALS else 2
