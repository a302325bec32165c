"""Countries whose public holidays are known, by the library `holidays`.

I know nothing of times. The library is loaded where a country is named, not before.
"""

from difflib import get_close_matches

NO_COUNTRY = "none"
"""Says that no country's holidays count."""


def check_country(text: str) -> str:
    """The code of a country, such as `DK`, or of a part of one, such as `DE-BY`, in capitals.

    Raises:
        ValueError: the library does not know it; the sentence names the nearest that it knows.
    """
    import holidays
    from holidays.registry import COUNTRIES

    parts_of = holidays.list_supported_countries(include_aliases=False)
    country, _, part = text.strip().upper().partition("-")
    if country not in parts_of:
        codes = {name.upper().replace("_", " "): entry[1] for name, entry in COUNTRIES.items()}
        codes |= {entry[2]: entry[1] for entry in COUNTRIES.values()} | {code: code for code in parts_of}
        wanted = text.strip().upper()
        near = sorted(get_close_matches(wanted, codes, n=20, cutoff=0.5), key=lambda name: name[0] != wanted[0])
        hint = f"did you mean '{codes[near[0]]}'?" if near else "wanted a code of ISO 3166 such as US or DK"
        raise ValueError(f"names no country that is known; {hint}")
    if part and part not in parts_of[country]:
        near = get_close_matches(part, parts_of[country], n=1, cutoff=0.5)
        hint = f"did you mean '{country}-{near[0]}'?" if near else f"use '{country}' alone"
        raise ValueError(f"names no part of {country} that is known; {hint}")
    return f"{country}-{part}" if part else country
