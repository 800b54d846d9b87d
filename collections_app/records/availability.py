"""Understand what shops write about stock, such as "Only 3 left in stock" or "https://schema.org/OutOfStock".

What isn't listed here is unknown. A text of several sentences is known if all of them are.
"""

import re
from collections.abc import Sequence
from enum import Enum

_LONGEST = 100


class Availability(Enum):
    """Whether a product can be bought now."""

    IN_STOCK = "in stock"
    OUT_OF_STOCK = "out of stock"
    PREORDER = "pre-order"
    BACKORDER = "backorder"


# The texts of shops, without regard to case, spaces and punctuation. "#" is a number.
_IN_STOCK = """
    in stock online; in stock in store
    yes; true; y; available; available now; in stock; in-store only; online only; limited availability
    limited stock; low stock; only # left; only # left in stock; only # left in stock order soon
    only # left in stock more on the way; only # available; # left; # left in stock; # in stock
    in stock #; # available; # items left; more than # available; only # left in stock order it now
    # or more; more than #; over #; # units; # pieces; # pcs; # items; only # remaining; # remaining
    only # in stock; fewer than # left; available in store; available in stores; available in-store
    available for pickup; available for pickup today; available for pick up; available for collection
    pickup available; pickup today; ready for pickup; ready for collection; click and collect
    click & collect; add to basket; add to bag; add to trolley; buy it now; in stock now; back in stock
    available from these sellers; available from other sellers; see all buying options
    available to ship; ready to ship; available to order; in warehouse; order now; high stock; plenty
    gewöhnlich versandfertig in # bis # Tagen; versandfertig in # Tagen; versandfertig in # bis # Tagen
    habituellement expédié sous # à # jours; expédié sous # à # jours; generalmente spedito entro # giorni
    normalmente se envía en un plazo de # a # días; gewoonlijk verzonden binnen # tot # dagen
    available to order online; available for delivery; available online; few left; last one
    almost sold out; selling fast; add to cart; buy now; lieferbar; sofort lieferbar; auf Lager
    vorrätig; verfügbar; nur noch # auf Lager; ja; nur noch # auf Lager mehr ist unterwegs
    nur noch # Stück auf Lager; # auf Lager; noch # verfügbar; en stock; disponible
    il ne reste plus que # exemplaire(s) en stock; il ne reste plus que # exemplaires en stock
    en existencia; queda(n) # en stock; sólo queda(n) # en stock; solo queda(n) # en stock; oui; sí
    disponibile; disponibilità immediata; solo # rimanenti in magazzino; disponibilità: solo #
    in magazzino; op voorraad; nog maar # op voorraad; slechts # op voorraad; i lager; finns i lager
    endast # kvar i lager; på lager; dostępny; w magazynie; dostępne; zostało tylko #; em estoque
    em stock; disponível; restam apenas # em estoque; stokta var; stokta; stokta sadece # adet kaldı
    在庫あり; 残り#点; 残り#点 ご注文はお早めに; 有货; 有貨; 现货; 現貨; 仅剩#件; 재고 있음; tersedia
    stok tersedia; stok tersisa #; sisa #; ada stok; còn hàng; มีสินค้า; مخزون متوفر; متوفر
    متوفر في المخزون
"""  # noqa: RUF001  # Turkish
_OUT_OF_STOCK = """
    no longer in stock
    no; false; n; unavailable; out of stock; currently unavailable; sold out; not available
    not in stock; temporarily out of stock; temporarily unavailable; discontinued; no stock
    this item is out of stock; no longer available
    we don't know when or if this item will be back in stock; currently out of stock
    out of stock online; currently unavailable we don't know when or if this item will be back in stock
    notify me when available; notify me; notify me when back in stock; notify me when in stock; alert me
    email me when available; email when available; email me when in stock; back in stock soon; back soon
    join waitlist; join the waitlist; join waiting list; waitlist; out of stock in store; stock out
    temporarily sold out; currently sold out; currently not available; currently not in stock
    temporarily not available; item unavailable; this item is currently unavailable
    this item is currently out of stock; this item is no longer available; not available online
    no featured offers available; out of stock everywhere; unavailable online
    nicht auf Lager; ausverkauft; nicht verfügbar; nicht lieferbar
    derzeit nicht verfügbar; nicht vorrätig; momentan nicht verfügbar; derzeit nicht auf Lager
    vergriffen; nein; rupture de stock; en rupture de stock; actuellement indisponible; indisponible
    épuisé; non disponible; non; temporairement en rupture de stock; agotado; no disponible
    no disponible por el momento; sin stock; sin existencias; temporalmente sin stock; non disponibile
    esaurito; attualmente non disponibile; temporaneamente non disponibile
    momentaneamente non disponibile; niet op voorraad; uitverkocht; momenteel niet verkrijgbaar
    tijdelijk uitverkocht; niet leverbaar; slut i lager; slutsåld; ej i lager
    för närvarande inte tillgänglig; inte i lager; tillfälligt slut; udsolgt; utsolgt; niedostępny
    niedostępne; obecnie niedostępny; brak w magazynie; wyprzedane; esgotado; indisponível
    não disponível; fora de estoque; sem estoque; esgotado temporariamente; sem stock; stokta yok
    tükendi; şu anda mevcut değil; 在庫切れ; 現在在庫切れです; 品切れ; 一時的に在庫切れ; 売り切れ; 缺货
    缺貨; 售罄; 无货; 無貨; 품절; 재고 없음; habis; stok habis; tidak tersedia; terjual habis
    stok kosong; hết hàng; tạm hết hàng; สินค้าหมด; habis dijual; tiada stok; غير متوفر
    غير متوفر حاليا; نفدت الكمية; نفذت الكمية
"""
_PREORDER = """
    preorder; pre-order; pre-order now; preorder today; this item has not yet been released
    pre-order available; not yet released; presale; pre-sale; available for pre-order; coming soon
    vorbestellbar; vorbestellung; jetzt vorbestellen; précommande; en précommande; reserva; en preventa
    preventa; prenotabile; preordine; pre-ordine; 予約受付中; 予約; prapesan; pre order; đặt trước
    预售; 預售; 예약판매
"""
_BACKORDER = """
    backorder; back-order; back order; on backorder; available on backorder; available for backorder
    backorder available
    backordered; on order; made to order; nachbestellt; nachlieferbar; sur commande; bajo pedido
    su ordinazione; in nabestelling
"""

# Sentences that shops add to others, which say nothing about stock. Numbers are "#".
_ADDED = re.compile(
    r"(?:please )?order (?:soon|today|it now)|more on the way|while stocks last|limited quantities|online"
    r"|(?:ships from|sold by|ships from and sold by|dispatched from|fulfilled by) .+"
    r"|(?:free )?(?:delivery|shipping|returns)|free (?:delivery|shipping|returns) .+"
    r"|(?:get|want|receive) it (?:by|on|as soon as|tomorrow|today).*"
    r"|we don t know when or if this item will be back in stock"
    r"|we are working hard to be back in stock.*"
)
# Sentences that say when an order is shipped. With no others, the product can be bought.
_SHIPS = re.compile(
    r"(?:(?:usually|normally|typically|generally) )?"
    r"(?:ships?|shipped|dispatch|dispatche[sd]|delivered|delivery|ready|ready to ship)"
    r"(?: (?:today|tomorrow|now|immediately|same day|next day)"
    r"| (?:in|within) (?:an?|#|one|two|three)(?: (?:to |or )?#)? (?:(?:business|working) )?"
    r"(?:hour|day|week|month)s?)"
)
_RELEASE = re.compile(r"this (?:item|title|product|game) will be released (?:on|in) .+")

_SCHEMA = re.compile(r"(?:https?://)?(?:www\.)?schema\.org/", re.IGNORECASE)
_SENTENCES = re.compile(r"[.!;:|()\n•·。](?!\d)|,\s| [-\u2013\u2014] ")
_OTHER = re.compile(r"[^\w#]|_")
_COUNT = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?", re.ASCII)
# "10+" and ">10"
_AT_LEAST = re.compile(r"[>≥] ?[0-9,.]{1,12}|[0-9,.]{1,12} ?\+")
_NUMBER = re.compile(r"(?<![0-9.,])([1-9][0-9]{0,2}(?:[,.][0-9]{3}){1,2}|[0-9]{1,9})\+?(?![0-9.,]*[0-9])")


def availability_of(value: object) -> Availability | None:
    """Return what a value says about stock, or None if that is unknown. Numbers are counts."""
    if isinstance(value, bool):
        return Availability.IN_STOCK if value else Availability.OUT_OF_STOCK
    if isinstance(value, int | float):
        return _of_count(value)
    if not isinstance(value, str) or len(value) > _LONGEST:
        return None
    return _of_text(value.strip())


def _of_text(text: str) -> Availability | None:
    if _COUNT.fullmatch(text):
        return _of_count(float(text))
    if "#" in text:
        return None
    if _AT_LEAST.fullmatch(text):
        return Availability.IN_STOCK if _count(text) else None
    return _of_sentence(text) or _of_sentences(list(filter(None, map(str.strip, _SENTENCES.split(text)))))


def _of_sentences(sentences: Sequence[str]) -> Availability | None:
    """Return the meaning of all sentences, or None if one is unknown or they disagree."""
    others = [each for each in sentences if not _ADDED.fullmatch(_words(each))]
    found = {_of_sentence(each) for each in others if not _SHIPS.fullmatch(_words(each))}
    if not found and others:
        return Availability.IN_STOCK
    return found.pop() if len(found) == 1 else None


def _of_sentence(text: str) -> Availability | None:
    if known := _TEXTS.get(_plain(_SCHEMA.sub("", text))):
        return known
    if _RELEASE.fullmatch(_words(text)):
        return Availability.PREORDER
    count = _NUMBER.search(text)
    if count is None or (known := _TEXTS.get(_plain(_NUMBER.sub("#", text)))) is None:
        return None
    return known if _count(count[1]) else Availability.OUT_OF_STOCK


def _count(text: str) -> int:
    return int(re.sub("[^0-9]", "", text) or 0)


def _of_count(count: float) -> Availability | None:
    if count < 0:
        return None
    return Availability.IN_STOCK if count else Availability.OUT_OF_STOCK


def _words(text: str) -> str:
    """Return the words of a text in lower case, with "#" for each number."""
    return " ".join(_OTHER.sub(" ", _NUMBER.sub("#", text).casefold()).split())


def _plain(text: str) -> str:
    """Return a text without case, spaces and punctuation."""
    return _OTHER.sub("", text.casefold())


_TEXTS = {
    _plain(text): availability
    for texts, availability in (
        (_IN_STOCK, Availability.IN_STOCK),
        (_OUT_OF_STOCK, Availability.OUT_OF_STOCK),
        (_PREORDER, Availability.PREORDER),
        (_BACKORDER, Availability.BACKORDER),
    )
    for text in re.split(r"[;\n]", texts)
    if text.strip()
}
