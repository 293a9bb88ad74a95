"""The search for a proposal, from the strongest evidence to the weakest."""

import re
from dataclasses import replace

from llm_center.matcher.index import Index, compact_key, get_index
from llm_center.matcher.proposal import (
    DOMAIN,
    DOUBTFUL,
    EXACT,
    GUESS,
    IN_CONTEXT,
    MONEY,
    NO_MATCH,
    PREFIX,
    TRUNCATED,
    WEAK,
    Proposal,
    brand_alternatives,
    brand_proposal,
)
from llm_center.matcher.rules import AIRLINES, apply_bank_category, score_suffix
from transactions.rules.merchant_key import key_readings, normalise
from transactions.statements.row_classes import NOT_MONEY_MOVED, match_rule

# An airline's code and ten more digits; banks often truncate the name before it to a few letters.
_TICKET_NUMBER = re.compile(rf"(?<!\d)({'|'.join(AIRLINES)})\d{{10}}(?!\d)")
_FUZZY_CUTOFF = 88.0


def propose(merchant_key: str, descriptor: str = "", category: str = "") -> Proposal:
    """Propose the company that owns a merchant, from these arguments alone.

    Args:
        merchant_key: the result of `normalise`; any text is accepted.
        descriptor: the bank's raw text, optional evidence.
        category: the bank's category, optional evidence.
    """
    index = get_index()
    key = merchant_key.strip()
    if not key:
        return NO_MATCH
    if (moved := _money_moved(descriptor or key, category)) is not None:
        return moved
    tokens = key.split()
    if any(" ".join(tokens[:size]) in index.others for size in (1, 2, 3)) and key not in index.spellings:
        return replace(NO_MATCH, method="look-alike", reason="Starts like a brand but is a different merchant.")
    proposal = _by_key(index, key, tokens)
    if proposal is None or proposal.confidence < IN_CONTEXT:
        found = _from_descriptor(index, descriptor, tokens, proposal) or proposal
        if found is None or found.confidence < TRUNCATED:
            found = _after_star(index, descriptor, found) or found
        proposal = found or _best_guess(index, key, tokens)
    if category and proposal.ticker and proposal.method != "exact":
        proposal = apply_bank_category(proposal, category)
    return proposal


def _by_key(index: Index, key: str, tokens: list[str]) -> Proposal | None:
    return _exact(index, key) or _domain(index, tokens) or _prefix(index, tokens) or _truncated(index, key, tokens)


def _after_star(index: Index, descriptor: str, first: Proposal | None) -> Proposal | None:
    """Match what follows an unknown prefix and a star: XYZ*HULU.COM may be paid through XYZ.

    Only a whole name or a web address is trusted then: a prefix that nobody knows may also be a shop that names a
    product.
    """
    if "*" not in descriptor:
        return None
    for key in key_readings(descriptor)[1:]:
        tokens = key.split()
        if any(" ".join(tokens[:size]) in index.others for size in (1, 2, 3)) and key not in index.spellings:
            continue
        found = _by_key(index, key, tokens)
        if found is None:
            continue
        limit = IN_CONTEXT if found.method in ("exact", "domain") else DOUBTFUL
        confidence = min(found.confidence, limit)
        if first is None or confidence > first.confidence:
            reason = f"Read as “{key}”, paid through an unknown service. {found.reason}"
            return replace(found, confidence=confidence, reason=reason)
    return None


def propose_descriptor(descriptor: str) -> Proposal:
    return propose(normalise(descriptor), descriptor)


def _money_moved(descriptor: str, category: str) -> Proposal | None:
    """Close what moves money, whatever name stands beside it: paying a bank's card is no purchase at the bank."""
    rule = match_rule(descriptor, category=category)
    if rule is None or rule.row_class in NOT_MONEY_MOVED:
        return None
    what = rule.row_class.replace("_", " ")
    return replace(
        NO_MATCH, listed=False, category="money", confidence=MONEY, method="money", reason=f"Money moved ({what})."
    )


def _exact(index: Index, key: str) -> Proposal | None:
    spelling = index.spellings.get(key)
    if spelling is None:
        return None
    if key in index.disputed:
        return brand_proposal(spelling.brand, GUESS, "exact", "Several owners use this name.")
    if spelling.kind == "common":
        return brand_proposal(spelling.brand, DOUBTFUL, "exact", "The name is also a common word or family name.")
    confidence = DOMAIN if spelling.kind == "known" else EXACT
    return brand_proposal(spelling.brand, confidence, "exact", f"“{key}” is a known spelling.")


def _domain(index: Index, tokens: list[str]) -> Proposal | None:
    """Match a web address, which identifies its owner however the shop's own name is written: BESTBUY.COM."""
    for position, token in enumerate(tokens):
        if "." not in token:
            continue
        name = token.rsplit(".", 1)[0]
        whole = " ".join(tokens[: position + 1])
        spelling = index.spellings.get(token) or index.spellings.get(whole)
        if spelling is None:
            spelling = index.compact.get(compact_key(" ".join([*tokens[:position], name])))
            spelling = spelling or (index.compact.get(compact_key(name)) if position == 0 else None)
        if spelling is not None and spelling.key not in index.disputed and compact_key(name) not in index.disputed:
            return brand_proposal(spelling.brand, DOMAIN, "domain", f"The domain {token} belongs to the brand.")
    return None


def _prefix(index: Index, tokens: list[str]) -> Proposal | None:
    spelling, size = index.longest_prefix(tokens)
    if spelling is None:
        return None
    confidence, remark = score_suffix(spelling, size, tokens[size:])
    if spelling.key in index.disputed:
        confidence, remark = GUESS, "several owners use the name"
    shorter, _ = index.longest_prefix(tokens[: size - 1])
    others = [shorter.brand] if shorter else []
    proposal = brand_proposal(spelling.brand, confidence, "prefix", f"Starts with “{spelling.key}”, {remark}.")
    return replace(proposal, alternatives=brand_alternatives(others, proposal.ticker))


def _truncated(index: Index, key: str, tokens: list[str]) -> Proposal | None:
    """Match a spelling that the bank truncated, wrote without spaces, or joined with a number."""
    compact = compact_key(key)
    spelling = index.compact.get(compact)
    if spelling is not None and compact not in index.disputed and spelling.key not in index.disputed:
        reason = f"“{key}” is “{spelling.key}” without spaces."
        return brand_proposal(spelling.brand, PREFIX, "compact", reason)
    first = tokens[0].rstrip("0123456789")
    if first != tokens[0] and len(first) >= 5:
        without_number = _prefix(index, [first, *tokens[1:]])
        if without_number is not None and without_number.confidence >= IN_CONTEXT:
            return replace(without_number, confidence=TRUNCATED, method="truncated")
    if len(key) < 8:
        return None
    matches = index.starting_with(key)
    if not matches:
        return None
    if len({match.brand.ticker for match in matches}) > 1:
        proposal = brand_proposal(matches[0].brand, GUESS, "truncated", "Several brands start like this.")
        alternatives = brand_alternatives((match.brand for match in matches), proposal.ticker)
        return replace(proposal, alternatives=alternatives)
    shortest = min(matches, key=lambda match: len(match.key))
    # A cut inside a word is a truncation; at the end of a word it may be the whole name (GREEN VALLEY is not
    # GREEN VALLEY RANCH).
    certain = len(key) >= 12 and len(key) * 5 >= len(shortest.key) * 3 and shortest.key[len(key)] != " "
    confidence = TRUNCATED if certain else DOUBTFUL
    return brand_proposal(shortest.brand, confidence, "truncated", f"“{shortest.key}” truncated.")


def _from_descriptor(index: Index, descriptor: str, tokens: list[str], proposal: Proposal | None) -> Proposal | None:
    """Match evidence that only the raw text has: a web address (HELP.UBER.COM) or an airline's ticket number."""
    if not descriptor:
        return None
    ticket = _TICKET_NUMBER.search(descriptor)
    if ticket is not None and tokens[0] in AIRLINES[ticket[1]]:
        brand = index.spellings[AIRLINES[ticket[1]][0]].brand
        return brand_proposal(brand, PREFIX, "ticket", f"A ticket number of {brand.name} ({ticket[1]}).")
    for part in descriptor.upper().replace("*", " ").split():
        labels = part.split("/")[0].strip(".,").split(".")
        if len(labels) < 2 or labels[-1] not in ("COM", "NET", "TV", "ORG"):
            continue
        spelling = index.spellings.get(".".join(labels[-2:])) or index.compact.get(labels[-2].replace("-", ""))
        if spelling is None or spelling.key in index.disputed:
            continue
        agrees = proposal is not None and proposal.ticker == (spelling.brand.ticker or None)
        confidence = PREFIX if agrees else DOUBTFUL
        if proposal is None or confidence > proposal.confidence:
            return brand_proposal(spelling.brand, confidence, "domain", f"The text contains the domain {part}.")
    return None


def _best_guess(index: Index, key: str, tokens: list[str]) -> Proposal:
    """Return a guess for a reviewer: a spelling inside the key, or one a typo away."""
    from rapidfuzz import fuzz, process  # noqa: PLC0415  # large; few processes match merchants

    for start in range(1, len(tokens)):
        spelling, _ = index.longest_prefix(tokens[start:])
        if spelling is not None and spelling.kind == "" and len(spelling.key) >= 6:
            return brand_proposal(spelling.brand, WEAK, "inside", f"“{spelling.key}” appears inside the text.")
    if len(key) >= 6:
        candidates = index.by_initial.get(key[0], ())
        match = process.extractOne(key, candidates, scorer=fuzz.ratio, score_cutoff=_FUZZY_CUTOFF)
        if match is not None:
            spelling = index.spellings[match[0]]
            confidence = DOUBTFUL if len(key) >= 9 and match[1] >= 92 else WEAK
            return brand_proposal(
                spelling.brand, confidence, "fuzzy", f"Similar to “{spelling.key}” ({match[1]:.0f}%)."
            )
    return NO_MATCH
