"""The words for kinds of changes."""

from collections_app.records.tracking.kinds import ChangeKind

# In the order of the page.
KIND_NAMES = {
    ChangeKind.PRICE_DOWN: "Price down",
    ChangeKind.PRICE_UP: "Price up",
    ChangeKind.CURRENCY: "Currency",
    ChangeKind.SOLD_OUT: "Sold out",
    ChangeKind.BACK: "Back in stock",
    ChangeKind.SELLER: "New seller",
    ChangeKind.NEW: "New",
    ChangeKind.RETURNED: "Returned",
    ChangeKind.MISSING: "Missing",
    ChangeKind.GONE: "Gone",
    ChangeKind.NOT_SCRAPED: "Not scraped",
    ChangeKind.OTHER: "Other",
}
