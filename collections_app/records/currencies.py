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
# How amounts are written, from Unicode CLDR as in Babel 2.19 (cldr.unicode.org): the separators of the
# official languages wherever a currency is legal tender, and the currencies whose decimals aren't used. Of
# those that are written in several ways, only USD and CAD are listed, with the separator of most shops.
_WITH_DECIMAL_POINT = frozenset(
    _words("""
    $ ¥ 元 Rs AED AUD BBD BDT BMD BSD BTN BWP BZD CAD CNY CUP DOP EGP ERN ETB FJD FKP GBP GHS GIP GMD
    GTQ GYD HKD HNL ILS INR JMD KES KHR KYD LKR LRD LSL MNT MVR MWK MXN MYR NAD NGN NIO NPR NZD PAB
    PEN PGK PHP PKR QAR SAR SBD SDG SGD SHP SLE SSP THB TOP TTD TWD TZS USD WST XCD ZMW
    """)
)
_WITH_DECIMAL_COMMA = frozenset(
    _words("""
    kr AMD AOA ARS BAM BOB BRL BYN CDF COP CRC CVE CZK DKK DZD HTG KGS KZT MDL MKD MRU MZN NOK PLN RON
    RSD SEK SRD STN TJS TMT TRY UAH UYU UZS VES
    """)
)
_WITHOUT_DECIMALS = frozenset(
    _words("""
    AFN ALL BIF CLP DJF GNF HUF IDR IQD IRR ISK JPY KMF KPW KRW LAK LBP MGA MMK PYG RWF SOS SYP UGX
    VND VUV XAF XOF XPF YER
    """)
)
# In lower case, the other codes are words or units: "top 10", "5 all", "3 kgs".
_IN_ANY_CASE = CODES.difference(_words("ALL AMD BAM BOB CUP GEL KGS MAD MOP PEN RUB SOS TOP TRY"))


def code_of(text: str) -> str | None:
    """Return a currency's code, or its sign if it has none, "" for no text, or None for any other text."""
    compact = text.replace(" ", "")
    if not compact or compact in CODES:
        return compact
    if compact in _SIGNS:
        return _SIGNS[compact]
    if (code := compact.upper()) in _IN_ANY_CASE:
        return code
    for code, sign in ((compact[:3], compact[3:]), (compact[-3:], compact[:-3])):  # "AUD $"
        if code in CODES and sign in _SIGNS:
            return code
    return None


def separates_thousands(currency: str, separator: str) -> bool:
    """Whether a comma or point before three digits always separates thousands in amounts of a currency."""
    others = _WITH_DECIMAL_POINT if separator == "," else _WITH_DECIMAL_COMMA
    return currency in _WITHOUT_DECIMALS or currency in others


def separates_decimals(currency: str, separator: str) -> bool:
    """Whether a comma or point in amounts of a currency can only separate decimals, never thousands."""
    usual = _WITH_DECIMAL_COMMA if separator == "," else _WITH_DECIMAL_POINT
    return currency in usual


def decimals_of(code: str) -> int:
    """Return the lowest number of decimals of an amount in this currency."""
    return 0 if code in _WITHOUT_DECIMALS else 2
