"""The embedded matcher: from a merchant key to the share of the company that owns the merchant, or to none.

A wrong purchase is worse than none, so a spelling is worth what it proves. In order:

1. the whole key is a known spelling (``exact``), or its web address is one (``domain``);
2. the key begins with a known spelling (``prefix``): the longest decides, so DELTA DENTAL is never Delta Air Lines. What
   follows must fit: STARBUCKS PLUMBING is no coffee shop, and a spelling that is also a word (SHELL, TARGET, APPLE) only
   counts before words that go with that kind of brand (SHELL OIL, TARGET STORE) or a place;
3. the key is the beginning of a known spelling that a bank cut off (``truncated``), or one written without its blanks;
4. somewhere inside the key stands a known spelling, or it is a typing error away from one (``inside``, ``fuzzy``): shown to
   a reviewer, never trusted.

Confidence is meant literally: 0.95 means wrong at most once in twenty. What is below 0.90 waits for a reviewer.
``propose`` is pure and does not touch the database; the index is built once a process from the shipped catalogue.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache

from llm_center.catalogue import Brand, load_brands, load_companies, load_words
from transactions.rules.merchant_key import is_place, normalise, normalise_uncached

EXACT = Decimal("0.98")
DOMAIN = Decimal("0.97")
PREFIX = Decimal("0.95")
IN_CONTEXT = Decimal("0.93")
TRUNCATED = Decimal("0.92")
DOUBTFUL = Decimal("0.80")
WEAK = Decimal("0.60")
GUESS = Decimal("0.40")
NOTHING = Decimal("0.00")

# A ticket number is the airline's three figures and ten more; banks cut the name before it to a few letters.
_TICKET_NUMBER = re.compile(r"(?<!\d)(001|006|016|027|173|279|422|526)\d{10}(?!\d)")
_AIRLINES = {
    "001": ("AMERICAN AIRLINES", "AMERICAN"),
    "006": ("DELTA AIR LINES", "DELTA"),
    "016": ("UNITED AIRLINES", "UNITED"),
    "027": ("ALASKA AIRLINES", "ALASKA"),
    "173": ("HAWAIIAN AIRLINES", "HAWAIIAN"),
    "279": ("JETBLUE", "JETBLUE"),
    "422": ("FRONTIER AIRLINES", "FRONTIER"),
    "526": ("SOUTHWEST AIRLINES", "SOUTHWEST", "SOUTHWES"),
}
MAX_ALTERNATIVES = 3
_FUZZY_CUTOFF = 88.0


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another company a reviewer may have meant."""

    ticker: str
    company_name: str
    brand: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """What the matcher makes of one merchant.

    ``listed`` is True with a ticker, False where it is known that nothing can be bought, None where nothing is known.
    ``confidence`` is the probability, 0 to 1, that ticker (or "not listed") is right.
    """

    ticker: str | None
    listed: bool | None
    company_name: str
    category: str
    confidence: Decimal
    method: str
    reason: str
    alternatives: tuple[Alternative, ...] = ()
    stated_confidence: Decimal | None = None
    """What the source said, where ``confidence`` was calibrated since."""


_NO_MATCH = Proposal(None, None, "", "", NOTHING, "none", "No brand of the catalogue is written like this.")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words that say nothing about the trade: they may follow any brand.
_NEUTRAL = _words(
    "STORE STORES ONLINE US USA OUTLET OUTLETS FACTORY RETAIL SHOP PAYMENT PAYMENTS PMT PYMT BILL BILLPAY BILLING AUTOPAY "
    "PAY WEB COM INC CO COMPANY CORP LLC APP MOBILE ORDER ORDERS SUBSCRIPTION SUBSCR SUBS MEMBERSHIP MEMBER PREMIUM PLUS "
    "MONTHLY ANNUAL RENEWAL GIFT CARD CARDS PICKUP DELIVERY RELOAD PURCHASE AUTOMATIC BY "
    "EZ EZPAY RECURRING TRIAL ACCOUNT ACCT SERVICE SERVICES SVC SVCS PENDING NEW HELP CUSTOMER SUPPORT INTL INTERNATIONAL"
)
# Where a shop stands. Behind a word that is no name these make another name: DELTA CENTER, CHASE PLAZA, CANOPY ROAD.
_ADDRESS = _words(
    "CENTER CTR MALL PLAZA DOWNTOWN AIRPORT NORTH SOUTH EAST WEST N S E W NE NW SE SW ST STREET AVE AVENUE BLVD RD ROAD HWY "
    "DR DRIVE PKWY PARKWAY LN LANE SQ SQUARE & OF THE AT ON IN ONE TERMINAL CROSSING COMMONS"
)
# The trade itself, right behind a word that may be a brand: SHELL OIL and TRU HOTEL, not CANOPY CAFE.
_ANCHORS = _words(
    "HOTEL HOTELS RESORT RESORTS SUITES OIL GAS FUEL AIRLINES AIRLINE BANK INSURANCE INS WIRELESS INTERNET MOBILE ENERGY ELECTRIC "
    "SUPERMARKET SUPERMARKETS MARKETS PHARMACY HAMBURGERS SUBSCRIPTION PREMIUM STORAGE MATTRESS SHOES JEWELERS ADS FINANCIAL"
)
# Words that go with a kind of brand, by the beginning of its category.
_FITTING: tuple[tuple[tuple[str, ...], frozenset[str]], ...] = (
    (
        ("amenity/fuel", "shop/convenience", "highway"),
        _words(
            "OIL GAS FUEL FUELS STATION FOOD MART CAR WASH OUTSIDE INSIDE PUMP MARKET CONVENIENCE CAFE MINI STOP TRAVEL "
            "TRUCK QUICK EXPRESS GASOLINE SERVICE CORNER SUPER KWIK LIQUOR DELI TIRE LUBE PETRO PETROLEUM REST GENERAL "
            "COUNTRY PIZZA EXPRESSWAY TURNPIKE XPRESS FOODMART"
        ),
    ),
    (
        ("amenity/fast_food", "amenity/restaurant", "amenity/cafe", "amenity/ice_cream"),
        _words(
            "RESTAURANT RESTAURANTS PIZZA GRILL BAR CAFE COFFEE KITCHEN BURGERS BURGER CHICKEN DRIVE THRU DELIVERY CATERING "
            "HAMBURGERS TACOS FAMILY STEAKHOUSE BREWHOUSE HOUSE EATERY FOOD COURT EXPRESS DONUTS DOUGHNUTS TEA BREAD "
            "BAKERY SUSHI LOUNGE TERMINAL CONCOURSE UNIVERSITY"
        ),
    ),
    (
        ("tourism", "gambling"),
        _words(
            "HOTEL HOTELS RESORT RESORTS INN INNS SUITES SPA RESTAURANT PARKING GARDEN BAR GRILL CLUB ROOM ROOMS DINING BEACH "
            "LODGE CASINO GRAND CONFERENCE CONVENTION AIRPORT DOWNTOWN PARK PARKS PLACE BY MARQUIS VACATIONS VACATION GOLF "
            "LOUNGE CAFE TICKETS TICKET SEASON PASS PHOTO FOOD LAS VEGAS UNIVERSITY WATERFRONT RIVERWALK BAY LAKE"
        ),
    ),
    (
        ("airline", "travel", "transport", "amenity/car_rental"),
        _words(
            "AIR AIRLINES AIRLINE AIRWAYS INFLIGHT WIFI BAGGAGE SEAT SEATS FEE TICKET TICKETS LINES VACATIONS CARGO SKY CLUB "
            "TRIP RIDE RIDES RENT A CAR RENTAL RENTALS TOLLS TOLL CRUISE CRUISES HOTEL HOTELS FLIGHT BAG CREDIT TRAVEL "
            "TRUCK MOVING STORAGE EARLYBIRD UPGRADE WI FI TIP PASS EATS"
        ),
    ),
    (
        ("amenity/bank", "finance", "office/financial", "office/mortgage", "shop/money_lender"),
        _words(
            "BANK CARD CARDS CREDIT CRD MORTGAGE AUTO LOAN LOANS PAYMENT EPAY EPAYMENT HOME LENDING TRAVEL NA FEE FINANCIAL "
            "FINANCE MTG SAVINGS VISA MASTERCARD INTERNET INVEST BROKERAGE CAFE GOLD"
        ),
    ),
    (
        ("office/insurance", "health", "pharma", "amenity/pharmacy", "healthcare"),
        _words(
            "INSURANCE INS AUTO HOME HEALTH LIFE CASUALTY PREMIUM MUTUAL DENTAL MEDICARE VISION GROUP PHARMACY RX PHARM CLINIC "
            "HEALTHCARE DIAGNOSTICS PHOTO MEDICAL CARE BLUE CROSS SHIELD BCBS FAMILY LABS LAB"
        ),
    ),
    (
        ("telecom", "streaming", "software", "media", "games", "tickets"),
        _words(
            "WIRELESS INTERNET CABLE TV MUSIC VIDEO DIGITAL PREPAID POSTPAID FIBER FIOS UVERSE U VERSE CONS PHONE AIRTIME "
            "CLOUD STORAGE ADS AD ADVERTISING "
            "PRO SOFTWARE ANNUAL BUSINESS GAMES GAME PRIME MAX STUDIO ACADEMY NEWS MEDIA LIVE TICKETS RADIO SATELLITE "
            "NETWORK COMMUNICATIONS COMM INTERACTIVE STUDIOS FAMILY PREM SYSTEMS TECHNOLOGIES MARKETPLACE"
        ),
    ),
    (("shop/storage", "shop/rental"), _words("MOVING STORAGE TRUCK RENTAL RENTALS SELF TRAILER TRAILERS")),
    (
        ("utility", "shop/gas"),
        _words("ENERGY ELECTRIC GAS POWER WATER LIGHT UTILITIES UTILITY PROPANE ELEC BILL TRASH WASTE XPRESSPAY EBILL"),
    ),
    (
        (
            "shop/supermarket",
            "shop/wholesale",
            "shop/department_store",
            "shop/variety_store",
            "shop/online",
            "shop/country",
        ),
        _words(
            "SUPERCENTER SUPERCTR GROCERY GROCERIES PHARMACY FUEL GAS MARKET MARKETS MKT MARKETPLACE MKTPL SUPERMARKET FOOD "
            "FOODS DRUG DRUGS BAKERY DELI LIQUOR WINE SPIRITS OPTICAL VISION AUTO TIRE CAFE PHOTO GARDEN NEIGHBORHOOD WHSE "
            "WHOLESALE PRIME FRESH VIDEO MUSIC DIGITAL KIDS TRAVEL TIPS MARKETPLACE MKTP EXPRESS FLORAL HOME SUPER DISCOUNT"
        ),
    ),
    (
        ("shop/car", "shop/tyres", "amenity/car_wash", "shop/motorcycle", "shop/truck", "amenity/charging"),
        _words(
            "AUTO PARTS TIRE TIRES CAR CARE WASH OIL CHANGE LUBE SERVICE SERVICES CENTER BRAKE MUFFLER GLASS COLLISION MOTOR "
            "MOTORS CREDIT FINANCIAL FINANCE SUPERCHARGER CHARGING CHARGE INSTANT AUTOMOTIVE DEALER"
        ),
    ),
    (
        ("leisure", "amenity/cinema"),
        _words(
            "FITNESS CLUB GYM THEATRE THEATRES THEATER THEATERS CINEMA CINEMAS DUES LANES BOWLING BOWL ENTERTAINMENT CONCESSIONS "
            "TICKETS STUBS MOVIES MOVIE DINE IMAX XD ATHLETIC STUDIO CLASSIC"
        ),
    ),
    (
        ("shop",),
        _words(
            "CLOTHING KIDS MENS WOMENS SHOES JEWELERS JEWELRY BEAUTY SALON COSMETICS HOME FURNITURE OUTFITTERS FASHION "
            "SPORTS SPORTING GOODS CLEARANCE GALLERY OUTDOORS BABY WAREHOUSE DIRECT PAINT PAINTS SUPPLY SUPPLIES MATTRESS "
            "OPTICAL EYEWEAR PETS PET GROOMING GAMES TOYS BOOKS CRAFTS DESIGN KITCHEN MARKET"
        ),
    ),
)
# A trade of its own behind somebody's name: STARBUCKS PLUMBING, WENDYS NAILS. Fitting words above win over this.
_FOREIGN = _words(
    "PLUMBING PLUMBERS CHURCH CHAPEL TEMPLE MINISTRIES DENTAL DENTIST DENTISTRY ORTHODONTICS ORTHO LAW ATTORNEY ATTORNEYS LEGAL "
    "REALTY REALTORS REALTOR CONSTRUCTION ROOFING LANDSCAPING LANDSCAPE LAWN ELECTRIC ELECTRICAL HVAC HEATING COOLING SCHOOL "
    "SCHOOLS ACADEMY UNIVERSITY COLLEGE FOUNDATION COUNTY TOWNSHIP VILLAGE PARISH MUSEUM VETERINARY VET CHIROPRACTIC MEDICAL "
    "CONDITIONING COMPRESSOR MECHANICAL HANDYMAN CARPENTRY WINDOWS DOORS BLINDS KENNEL KENNELS BOARDING STABLES TRUCKING LOGISTICS "
    "EXCAVATING CONCRETE ASPHALT PAVING MASONRY FENCE FENCING TREE NURSERY GREENHOUSE ORCHARD BAIT TACKLE GUNS AMMO DRIVING SWIM "
    "GYMNASTICS SOCCER BASEBALL LEAGUE BOOSTERS CAMP CAMPGROUND MARINA COUNSELING PSYCHOLOGY OPTOMETRY EYE EYECARE CARDIOLOGY "
    "SURGERY ORAL PODIATRY HOSPICE NURSING REHAB ADVISORS WEALTH CAPITAL VENTURES PARTNERS ASSOCIATES CPA ACCOUNTING TAX STAFFING "
    "PRINTING SIGNS GRAPHICS PUBLISHING PRODUCTIONS RECORDS FESTIVAL FAIR ANTIQUES THRIFT CONSIGNMENT TITLE ESCROW CANTINA MEXICAN "
    "ITALIAN CHINESE THAI INDIAN KABOB GYRO HALAL PHO WINGS SUBS SEAFOOD STEAKS CHICKEN BURGERS MEATS MEAT BUTCHER CREAMERY YOGURT "
    "JUICE HOOKAH CIGARS BARBERS ART ARTS CHIRO ORTHOPEDICS REST HEAT HTG COND JOY ROASTERS TAVERNS "
    "CLINIC HOSPITAL DERMATOLOGY PEDIATRICS THERAPY SALON HAIR BARBER BARBERSHOP NAIL NAILS SPA YOGA FITNESS GYM PILATES "
    "KARATE MARTIAL DANCE BALLET PHOTOGRAPHY FLORIST FLOWERS CATERING BREWERY BREWING WINERY VINEYARD VINEYARDS FARM FARMS "
    "RANCH APARTMENTS APTS PROPERTIES TOWING TOW BODY COLLISION TRANSMISSION CLEANERS CLEANING LAUNDRY LAUNDROMAT PAWN CREDIT "
    "FCU CU AGENCY CONSULTING SOLUTIONS TATTOO VAPE SMOKE TOBACCO CIGAR DISPENSARY LIQUOR LIQUORS DELI PIZZA PIZZERIA "
    "CAFE BAKERY GRILL PUB TAVERN DINER SUSHI RAMEN BBQ TACOS TAQUERIA BEACH VALLEY HILLS GOLF FARMERS TRIBE ARENA STADIUM "
    "FIELD LIBRARY STORAGE MOVERS PAINTING POOLS REPAIR REPAIRS DAYCARE CHILDCARE PRESCHOOL FUNERAL CEMETERY CARPET FLOORING "
    "UPHOLSTERY TAILOR ALTERATIONS MASSAGE WELLNESS PHARMACY DRUGS AUTO MOTORS CYCLES BIKES TAXI LIMO RESTAURANT BAR LOUNGE "
    "HOTEL MOTEL INN JEWELERS JEWELRY FURNITURE INSURANCE GARAGE HARDWARE FOUNDRY WELDING BRICK PTA PTO ALUMNI PAC LODGE"
)


@lru_cache(maxsize=512)
def _fitting(category: str) -> frozenset[str]:
    """The words that may follow a brand of this category."""
    fitting: frozenset[str] = _NEUTRAL
    for prefixes, words in _FITTING:
        if category.startswith(prefixes):
            fitting |= words
    return fitting


@dataclass(frozen=True, slots=True)
class _Spelling:
    """One way to write a brand, as a merchant key."""

    key: str
    brand: Brand
    kind: str  # "", "common" or "known"; see catalogue.load_words


class _Index:
    """Look-up tables over every spelling of the catalogue."""

    def __init__(self, brands: Iterable[Brand]) -> None:
        words = load_words()
        self.others = {key: len(key.split()) for key, kind in words.items() if kind == "other"}
        self.spellings: dict[str, _Spelling] = {}
        self.disputed: set[str] = set()
        for brand in brands:
            for text in (brand.name, *brand.aliases):
                key = normalise_uncached(text)
                if len(key) > 1 or key == "76":
                    self._add(key, brand, words.get(key, ""))
        self.longest = max((len(key.split()) for key in self.spellings), default=0)
        # Without blanks and signs; spellings of a few letters would collide with words.
        self.compact: dict[str, _Spelling] = {}
        for key, spelling in self.spellings.items():
            compact = _compact(key)
            if len(compact) >= 5 and spelling.kind == "":
                known = self.compact.setdefault(compact, spelling)
                if known.brand.ticker != spelling.brand.ticker:
                    self.disputed.add(compact)
        self.sorted = sorted(key for key in self.spellings if len(key) >= 8)
        self.by_initial: dict[str, list[str]] = {}
        for key in self.spellings:
            if len(key) >= 6:
                self.by_initial.setdefault(key[0], []).append(key)

    def _add(self, key: str, brand: Brand, kind: str) -> None:
        known = self.spellings.get(key)
        if known is None or (known.brand.is_unknown and not brand.is_unknown):
            self.spellings[key] = _Spelling(key, brand, kind)
        elif known.brand.ticker != brand.ticker and not brand.is_unknown:
            # Two owners claim one spelling. A brand's own name beats another brand's alias; else nobody has it.
            if normalise_uncached(brand.name) == key and normalise_uncached(known.brand.name) != key:
                self.spellings[key] = _Spelling(key, brand, kind)
            elif normalise_uncached(known.brand.name) != key or normalise_uncached(brand.name) == key:
                self.disputed.add(key)

    def longest_prefix(self, tokens: list[str]) -> tuple[_Spelling | None, int]:
        """The longest spelling that the tokens begin with, and how many tokens it takes."""
        for size in range(min(len(tokens), self.longest), 0, -1):
            spelling = self.spellings.get(" ".join(tokens[:size]))
            if spelling is not None:
                return spelling, size
        return None, 0

    def starting_with(self, text: str) -> list[_Spelling]:
        """Spellings that begin with ``text`` and go on."""
        found = []
        for i in range(bisect_left(self.sorted, text), len(self.sorted)):
            if not self.sorted[i].startswith(text):
                break
            found.append(self.spellings[self.sorted[i]])
        return found


def _compact(key: str) -> str:
    return key.replace(" ", "").replace("&", "").replace(".", "")


@lru_cache(maxsize=1)
def _index() -> _Index:
    return _Index(load_brands())


def rebuild() -> None:
    """Forget the index: the catalogue has changed."""
    _index.cache_clear()


def _proposal(brand: Brand, confidence: Decimal, method: str, reason: str) -> Proposal:
    """The proposal of a brand: its ticker, "not listed" if that is known, or only a name if nothing is."""
    if brand.ticker:
        company = load_companies()[brand.ticker]
        owner = f"{brand.name} belongs to {brand.owner or company.name}"
        return Proposal(
            brand.ticker, True, company.name, brand.category, confidence, method, f"{reason} {owner} ({brand.ticker})."
        )
    if brand.is_unknown:
        reason = f"{reason} Who owns {brand.name} has not been looked up."
        return Proposal(None, None, "", brand.category, min(confidence, GUESS), method, reason)
    reason = f"{reason} {brand.name} cannot be bought: {brand.reason} ({brand.owner})."
    return Proposal(None, False, brand.owner, brand.category, confidence, method, reason)


def _alternatives(brands: Iterable[Brand], chosen: str | None) -> tuple[Alternative, ...]:
    found: dict[str, Alternative] = {}
    for brand in brands:
        if brand.ticker and brand.ticker != chosen and brand.ticker not in found:
            found[brand.ticker] = Alternative(brand.ticker, load_companies()[brand.ticker].name, brand.name)
    return tuple(found.values())[:MAX_ALTERNATIVES]


def propose(merchant_key: str, descriptor: str = "", category: str = "") -> Proposal:
    """Which company stands behind a merchant.

    ``merchant_key`` is what ``normalise`` made of the bank's text; ``descriptor`` the raw text and ``category`` the bank's
    word for it, both optional evidence. The answer depends on nothing else, and any text is answered.
    """
    index = _index()
    key = merchant_key.strip()
    if not key:
        return _NO_MATCH
    tokens = key.split()
    if any(" ".join(tokens[:size]) in index.others for size in (1, 2, 3)) and key not in index.spellings:
        return replace(
            _NO_MATCH, method="look-alike", reason="This begins like a brand but is known to be somebody else."
        )
    proposal = _exact(index, key) or _domain(index, tokens) or _prefix(index, tokens) or _cut_off(index, key, tokens)
    if proposal is None or proposal.confidence < IN_CONTEXT:
        proposal = _by_raw_text(index, descriptor, tokens, proposal) or proposal or _doubtful(index, key, tokens)
    if category and proposal.ticker and proposal.method != "exact":
        proposal = _weigh_category(proposal, category)
    return proposal


def _exact(index: _Index, key: str) -> Proposal | None:
    spelling = index.spellings.get(key)
    if spelling is None:
        return None
    if key in index.disputed:
        return _proposal(spelling.brand, GUESS, "exact", "Several owners use this name.")
    if spelling.kind == "common":
        return _proposal(spelling.brand, DOUBTFUL, "exact", "The name is also an everyday word or a family's name.")
    confidence = DOMAIN if spelling.kind == "known" else EXACT
    return _proposal(spelling.brand, confidence, "exact", f"“{key}” is a known spelling.")


def _domain(index: _Index, tokens: list[str]) -> Proposal | None:
    """A web address names its owner: BESTBUY.COM, however the shop's own name is written."""
    for position, token in enumerate(tokens):
        if "." not in token:
            continue
        name = token.rsplit(".", 1)[0]
        whole = " ".join(tokens[: position + 1])
        spelling = index.spellings.get(token) or index.spellings.get(whole)
        if spelling is None:
            spelling = index.compact.get(_compact(" ".join([*tokens[:position], name])))
            spelling = spelling or (index.compact.get(_compact(name)) if position == 0 else None)
        if spelling is not None and spelling.key not in index.disputed and _compact(name) not in index.disputed:
            return _proposal(spelling.brand, DOMAIN, "domain", f"The web address {token} is the brand's.")
    return None


def _prefix(index: _Index, tokens: list[str]) -> Proposal | None:
    spelling, size = index.longest_prefix(tokens)
    if spelling is None:
        return None
    rest = tokens[size:]
    confidence, remark = _judge_rest(spelling, size, rest)
    if spelling.key in index.disputed:
        confidence, remark = GUESS, "several owners use the name"
    shorter, _ = index.longest_prefix(tokens[: size - 1])
    others = [shorter.brand] if shorter else []
    proposal = _proposal(spelling.brand, confidence, "prefix", f"Begins with “{spelling.key}”; {remark}.")
    return replace(proposal, alternatives=_alternatives(others, proposal.ticker))


def _judge_rest(spelling: _Spelling, size: int, rest: list[str]) -> tuple[Decimal, str]:
    """How sure a spelling is, given the words behind it, and why."""
    fitting = _fitting(spelling.brand.category)
    ambiguous = spelling.kind in ("common", "known")
    if not ambiguous:
        fitting |= _ADDRESS
    if ambiguous and len(rest) > 1 and rest[0] in ("OF", "AT") and is_place(" ".join(rest[1:])):
        rest = []  # LOWES OF CARY
    unfit = [token for token in rest if token not in fitting and not token.isdigit()]
    if spelling.brand.category == "shop/car" and (unfit or "OF" in rest):
        return WEAK, "but a dealer may stand behind it"
    if unfit and rest[-len(unfit) :] == unfit and is_place(" ".join(unfit)):
        unfit = []
    if ambiguous:
        if unfit:
            return GUESS, f"but it is also a word, and “{' '.join(unfit)}” does not go with it"
        strong = spelling.kind == "known" or (rest and rest[0] in fitting and rest[0] in _ANCHORS)
        return (IN_CONTEXT if strong else DOUBTFUL), "and what follows goes with it"
    foreign = [token for token in unfit if token in _FOREIGN]
    if foreign:
        return WEAK, f"but “{foreign[0]}” is another trade"
    if not unfit:
        return PREFIX, "and what follows goes with it"
    if size == 1 and len(spelling.key) < 5:
        return WEAK, "but the name is short and words follow that do not go with it"
    return IN_CONTEXT, "a distinctive name"


def _cut_off(index: _Index, key: str, tokens: list[str]) -> Proposal | None:
    """A spelling that the bank cut off, or wrote without blanks or with a number stuck to it."""
    compact = _compact(key)
    spelling = index.compact.get(compact)
    if spelling is not None and compact not in index.disputed and spelling.key not in index.disputed:
        return _proposal(spelling.brand, PREFIX, "compact", f"“{key}” is “{spelling.key}” without blanks.")
    first = tokens[0].rstrip("0123456789")
    if first != tokens[0] and len(first) >= 5:
        glued = _prefix(index, [first, *tokens[1:]])
        if glued is not None and glued.confidence >= IN_CONTEXT:
            return replace(glued, confidence=TRUNCATED, method="truncated")
    if len(key) < 8:
        return None
    found = index.starting_with(key)
    owners = {spelling.brand.ticker for spelling in found}
    if len(owners) != 1:
        if not found:
            return None
        proposal = _proposal(found[0].brand, GUESS, "truncated", "Several brands begin like this.")
        return replace(proposal, alternatives=_alternatives((s.brand for s in found), proposal.ticker))
    shortest = min(found, key=lambda s: len(s.key))
    # Cut inside a word it is a cut; at the end of one it may be all there is (GREEN VALLEY is no GREEN VALLEY RANCH).
    sure = len(key) >= 12 and len(key) * 5 >= len(shortest.key) * 3 and shortest.key[len(key)] != " "
    reason = f"The beginning of “{shortest.key}”."
    return _proposal(shortest.brand, TRUNCATED if sure else DOUBTFUL, "truncated", reason)


def _by_raw_text(index: _Index, descriptor: str, tokens: list[str], proposal: Proposal | None) -> Proposal | None:
    """What the raw text shows and the key no longer does: a web address (HELP.UBER.COM), an airline's ticket number."""
    if not descriptor:
        return None
    ticket = _TICKET_NUMBER.search(descriptor)
    if ticket is not None and tokens[0] in _AIRLINES[ticket[1]]:
        spelling = index.spellings[_AIRLINES[ticket[1]][0]]
        return _proposal(spelling.brand, PREFIX, "ticket", f"A ticket number of {spelling.brand.name} ({ticket[1]}).")
    for part in descriptor.upper().replace("*", " ").split():
        labels = part.split("/")[0].strip(".,").split(".")
        if len(labels) >= 2 and labels[-1] in ("COM", "NET", "TV", "ORG"):
            spelling_or_none = index.spellings.get(".".join(labels[-2:])) or index.compact.get(
                labels[-2].replace("-", "")
            )
            if spelling_or_none is None or spelling_or_none.key in index.disputed:
                continue
            agrees = proposal is not None and proposal.ticker == (spelling_or_none.brand.ticker or None)
            confidence = PREFIX if agrees else DOUBTFUL
            if proposal is None or confidence > proposal.confidence:
                return _proposal(
                    spelling_or_none.brand, confidence, "domain", f"The text names the web address {part}."
                )
    return None


def _doubtful(index: _Index, key: str, tokens: list[str]) -> Proposal:
    """The best guess for a reviewer: a spelling inside the key, or a typing error away."""
    for start in range(1, len(tokens)):
        spelling, _ = index.longest_prefix(tokens[start:])
        if spelling is not None and spelling.kind == "" and len(spelling.key) >= 6:
            return _proposal(spelling.brand, WEAK, "inside", f"“{spelling.key}” stands inside the text.")
    if len(key) >= 6:
        from rapidfuzz import fuzz, process  # noqa: PLC0415  # only workers and look-ups get here

        candidates = index.by_initial.get(key[0], ())
        match = process.extractOne(key, candidates, scorer=fuzz.ratio, score_cutoff=_FUZZY_CUTOFF)
        if match is not None:
            spelling = index.spellings[match[0]]
            confidence = DOUBTFUL if len(key) >= 9 and match[1] >= 92 else WEAK
            return _proposal(spelling.brand, confidence, "fuzzy", f"Nearly “{spelling.key}” ({match[1]:.0f} %).")
    return _NO_MATCH


# Words of a bank's category, and the beginnings of the catalogue's categories that they rule in.
_BANK_CATEGORIES: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (
        ("GAS", "FUEL", "AUTOMOTIVE"),
        (
            "amenity/fuel",
            "shop/conv",
            "highway",
            "shop/car",
            "shop/tyres",
            "amenity/ch",
            "shop/wh",
            "shop/supermarket",
            "various",
            "amenity/car",
            "shop/department",
        ),
    ),
    (
        ("RESTAURANT", "DINING", "FAST FOOD", "COFFEE"),
        ("amenity/", "various", "tourism", "shop/", "leisure", "delivery", "transport"),
    ),
    (
        ("HEALTH", "MEDICAL", "DENTAL", "DOCTOR"),
        ("health", "pharma", "amenity/pharmacy", "office/insurance", "shop/", "leisure"),
    ),
    (("EDUCATION", "TUITION"), ("amenity/", "software", "media", "shop/")),
)


def _weigh_category(proposal: Proposal, category: str) -> Proposal:
    """A bank that calls it a dentist has seen something that the name does not show."""
    words = category.upper()
    for names, allowed in _BANK_CATEGORIES:
        if any(name in words for name in names):
            if not proposal.category.startswith(allowed) and proposal.confidence > DOUBTFUL:
                reason = f"{proposal.reason} But the bank files it under “{category}”."
                return replace(proposal, confidence=DOUBTFUL, reason=reason)
            return proposal
    return proposal


def propose_descriptor(descriptor: str, category: str = "") -> Proposal:
    """The proposal for a raw descriptor: :func:`normalise`, then :func:`propose`."""
    return propose(normalise(descriptor), descriptor, category)
