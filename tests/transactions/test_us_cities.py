"""The list of cities: its form, and how it is made from GeoNames."""

from pathlib import Path

from tests.us_cities import city_lines, fold

FILE = Path(__file__).parents[2] / "transactions" / "data" / "us_cities.txt"


def _city(name: str, state: str, population: int, country: str = "US") -> dict[str, object]:
    return {"name": name, "admin1code": state, "population": population, "countrycode": country}


def test_each_line_has_a_city_its_states_and_perhaps_a_mark():
    lines = FILE.read_text(encoding="ascii").splitlines()
    assert lines == sorted(lines, key=lambda line: line.split("\t")[0])
    for line in lines:
        city, states, *mark = line.split("\t")
        assert city == fold(city) != ""
        assert all(len(state) == 2 for state in states.split(" "))
        assert mark in ([], ["large"])


def test_a_name_is_written_as_in_a_key():
    assert fold("Coeur d'Alene") == "COEUR DALENE"
    assert fold("Cañon City") == "CANON CITY"
    assert fold("Winston-Salem") == "WINSTON SALEM"


def test_cities_are_grouped_with_their_states_and_short_forms():
    assert city_lines(
        [
            _city("Saint Paul", "MN", 300_000),
            _city("St. Paul", "NE", 2_300),
            _city("Ponce", "113", 120_000, "PR"),
            _city("North Platte", "NE", 23_000),
            _city("New York City", "NY", 8_800_000),
            _city("Paris", "11", 2_100_000, "FR"),
            _city("Butte-Silver Bow (Balance)", "MT", 34_000),
        ]
    ) == [
        "N PLATTE\tNE\tlarge",
        "NEW YORK\tNY\tlarge",
        "NEW YORK CITY\tNY\tlarge",
        "NORTH PLATTE\tNE\tlarge",
        "PONCE\tPR\tlarge",
        "SAINT PAUL\tMN NE\tlarge",
        "ST PAUL\tMN NE\tlarge",
    ]
