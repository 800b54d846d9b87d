"""The products of the demo's shops: the words and prices that records are generated from."""

from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Shelf:
    """A kind of product: what its titles and prices are generated from. Prices are in units of `currency`."""

    name: str
    title: str
    brands: dict[str, tuple[str, ...]]
    specifications: dict[str, tuple[str, ...]]
    prices: tuple[int, int]
    path: tuple[str, ...]
    currency: str = "AUD"
    site: str = "www.amazon.com.au"


_COLOURS = ("Black", "Silver", "Cloud Grey", "Midnight Blue", "White", "Sage Green")

LAPTOPS = Shelf(
    name="laptops",
    title="{brand} {series} {screen} Laptop, {processor}, {memory} RAM, {storage} SSD, {colour}",
    brands={
        "Lenovo": ("IdeaPad Slim", "ThinkPad E", "Yoga", "Legion"),
        "ASUS": ("Vivobook", "Zenbook OLED", "ROG Strix", "TUF Gaming"),
        "HP": ("Pavilion", "Envy x360", "ProBook", "Omen"),
        "Acer": ("Aspire", "Swift Go", "Nitro V", "Predator Helios"),
        "Dell": ("Inspiron", "XPS", "Latitude", "Vostro"),
        "MSI": ("Modern", "Katana", "Prestige AI"),
        "Microsoft": ("Surface", "Surface Studio"),
    },
    specifications={
        "Screen": ('13.4"', '14"', '15.6"', '16"', '17.3"'),
        "Processor": ("Intel Core i5", "Intel Core i7", "Intel Core Ultra 5", "AMD Ryzen 5", "AMD Ryzen 7"),
        "Memory": ("8 GB", "16 GB", "32 GB"),
        "Storage": ("256 GB", "512 GB", "1 TB", "2 TB"),
        "Colour": _COLOURS,
        "Battery life": ("7 hours", "10 hours", "14 hours", "18 hours"),
        "Operating system": ("Windows 11 Home", "Windows 11 Pro"),
    },
    prices=(449, 3999),
    path=("Computers", "Laptops"),
)

MONITORS = Shelf(
    name="monitors",
    title="{brand} {series} {size} {resolution} Monitor, {refresh_rate}, {panel}",
    brands={
        "LG": ("UltraGear", "UltraFine", "UltraWide"),
        "Samsung": ("Odyssey G5", "ViewFinity S8", "Essential S3"),
        "Dell": ("UltraSharp", "P Series", "Alienware"),
        "BenQ": ("MOBIUZ", "PD Series", "GW Series"),
        "AOC": ("AGON Pro", "Value Line"),
    },
    specifications={
        "Size": ('24"', '27"', '32"', '34"', '49"'),
        "Resolution": ("Full HD", "QHD", "4K UHD", "5K"),
        "Refresh rate": ("60 Hz", "100 Hz", "144 Hz", "240 Hz"),
        "Panel": ("IPS", "VA", "OLED"),
        "Ports": ("HDMI, DisplayPort", "HDMI, DisplayPort, USB-C 90 W"),
    },
    prices=(119, 2299),
    path=("Computers", "Monitors"),
    currency="USD",
    site="www.amazon.com",
)

HEADPHONES = Shelf(
    name="headphones",
    title="{brand} {series} {type} Headphones, {noise_cancelling}, {colour}",
    brands={
        "Sony": ("WH-1000XM5", "WH-CH720N", "LinkBuds S"),
        "Bose": ("QuietComfort", "QuietComfort Ultra"),
        "Sennheiser": ("Momentum 4", "Accentum", "HD 560S"),
        "JBL": ("Tune 770NC", "Live 670NC", "Endurance Race"),
        "Anker Soundcore": ("Life Q30", "Space One", "Liberty 4"),
        "Audio-Technica": ("ATH-M50x", "ATH-S300BT"),
    },
    specifications={
        "Type": ("Over-Ear", "On-Ear", "In-Ear"),
        "Noise cancelling": ("Adaptive Noise Cancelling", "Noise Isolating"),
        "Colour": _COLOURS,
    },
    prices=(39, 649),
    path=("Electronics", "Headphones"),
)

CHAIRS = Shelf(
    name="chairs and desks",
    title="{brand} {series} {piece}, {material}, {colour}",
    brands={
        "J.Burrows": ("Stanton", "Piccolo", "Kensington"),
        "Otto": ("Marlow", "Skagen", "Denver"),
        "Typhoon": ("Prime", "Titan"),
        "Stilford": ("Professional", "Executive"),
    },
    specifications={
        "Piece": (
            "Ergonomic Office Chair",
            "High Back Chair",
            "Sit-Stand Desk",
            "Corner Desk",
            "Drafting Stool",
        ),
        "Material": ("Mesh", "Fabric", "Bonded Leather", "Oak Veneer"),
        "Colour": _COLOURS,
        "Maximum load": ("100 kg", "120 kg", "136 kg"),
        "Warranty": ("1 year", "5 years", "10 years"),
    },
    prices=(69, 899),
    path=("Furniture", "Chairs and desks"),
    site="www.officeworks.com.au",
)

COFFEE = Shelf(
    name="coffee",
    title="{brand} {series}, {roast} ({origin}) ☕ {weight}",
    brands={
        "Caffè Vergnano": ("Espresso Crema 800", "Gran Aroma"),
        "Lavazza": ("Qualità Rossa", "Crema e Gusto"),
        "猿田彦珈琲": ("大吉ブレンド", "クラシック"),
        "Café Joyeux": ("L'Équilibré", 'Le "Doux"'),
        "Löfbergs": ("Mellanrost", "Mörkrost"),
    },
    specifications={
        "Roast": ("Light roast", "Medium roast", "Dark roast", "深煎り"),
        "Origin": ("Ethiopia", "Brasil / Colômbia", "Côte d'Ivoire", "ベトナム"),
        "Weight": ("200 g", "500 g", "1 kg"),
        "Grind": ("Whole beans", "Filter", "Espresso"),
    },
    prices=(9, 79),
    path=("Grocery", "Coffee"),
)

PAPER = Shelf(
    name="paper",
    title="{brand} {series} {size} Copy Paper {weight}, {quantity}",
    brands={
        "Reflex": ("Ultra White", "Carbon Neutral"),
        "J.Burrows": ("Premium", "Everyday"),
        "Quill": ("Coloured", "Metallique"),
    },
    specifications={
        "Size": ("A3", "A4", "A5"),
        "Weight": ("80 gsm", "100 gsm", "160 gsm"),
        "Quantity": ("Ream of 500", "Carton of 5 Reams", "Pack of 100"),
        "Recycled": ("0 %", "50 %", "100 %"),
    },
    prices=(6, 59),
    path=("Paper", "Copy paper"),
    site="www.officeworks.com.au",
)

PENS = Shelf(
    name="pens",
    title="{brand} {series} Fountain Pen, {nib} Nib, {colour}",
    brands={
        "Lamy": ("Safari", "AL-star", "2000"),
        "Pilot": ("Metropolitan", "Custom 74", "Kakuno"),
        "Kaweco": ("Sport", "Liliput"),
        "Pelikan": ("Souverän M400", "Twist"),
        "Faber-Castell": ("Grip", "e-motion"),
    },
    specifications={"Nib": ("Extra Fine", "Fine", "Medium", "Broad"), "Colour": _COLOURS},
    prices=(19, 549),
    path=("Stationery", "Fountain pens"),
)

INK = Shelf(
    name="ink",
    title="{brand} {series} {cartridge} Cartridge, {yield}",
    brands={
        "Brother": ("LC-3319XL", "TN-2450"),
        "Canon": ("PG-645XL", "CLI-681"),
        "HP": ("63XL", "915XL", "206A"),
        "Epson": ("EcoTank 522", "212XL"),
    },
    specifications={
        "Cartridge": ("Black Ink", "Cyan Ink", "Tri-colour Ink", "Black Toner"),
        "Yield": ("200 pages", "550 pages", "3,000 pages"),
    },
    prices=(14, 189),
    path=("Printing", "Ink and toner"),
)

VACUUMS = Shelf(
    name="robot vacuums",
    title="{brand} {series} Robot Vacuum, {suction}, {station}, {colour}",
    brands={
        "Roborock": ("Q7", "S8", "Qrevo"),
        "iRobot": ("Roomba Combo", "Roomba j9"),
        "Ecovacs": ("Deebot N20", "Deebot X5"),
        "Dreame": ("L10s", "X40"),
        "Xiaomi": ("S20", "X20"),
    },
    specifications={
        "Suction": ("2,700 Pa", "4,000 Pa", "6,000 Pa", "12,000 Pa"),
        "Station": ("Charging Dock", "Self-Emptying", "Self-Washing Mop"),
        "Colour": ("Black", "White"),
    },
    prices=(249, 2299),
    path=("Home", "Vacuums"),
)
