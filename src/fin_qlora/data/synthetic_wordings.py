"""The invented wordings and name parts of the demo's synthetic data, in a train and a test half.

No wording of the test half is in the train half. Names are put together from syllables; any
likeness to a real person, company or place is chance.
"""

# ruff: noqa: E501 - wordings are easier to read on one line
from __future__ import annotations

from typing import Final

#: split -> label -> sentence wordings.
SENTIMENT: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "train": {
        "positive": (
            "{company} said its {gain} {rose} {percent} to {money} in the {quarter} quarter.",
            "The {gain} of {company} {rose} to {money} from {lessmoney} a year earlier.",
            "{company} {beat} analyst forecasts for the {quarter} quarter with {gain} of {money}.",
            "{company} cut its {burden} by {percent} and expects further savings in {month}.",
            "{company} won an order worth {money} from a customer in {place}.",
            "Shares of {company} {rose} {percent} after the {gain} came in better than expected.",
            "{company} raised its outlook for the year because of strong demand for {product}.",
            "The regulator in {place} approved the {product} of {company}.",
            "{company} will hire {count} people in {place} to meet growing demand.",
            "{company} swung to a profit of {money} after a loss in the same period last year.",
            "{person}, chief executive of {company}, called it the best {quarter} quarter so far.",
            "{company} will raise its dividend by {percent} after record {gain}.",
            "The {burden} of {company} {fell} {percent}, which lifted its margin.",
            "{company} is gaining market share in {product}, an analyst in {place} wrote.",
            "A rating agency upgraded {company} after its {burden} {fell} to {money}.",
            "Customers are very satisfied with the new {product} of {company}, a survey shows.",
            "{company} repaid {money} of debt early thanks to healthy cash flow.",
            "The order book of {company} {rose} to a record {money} in {month}.",
            "{company} settled its dispute in {place} on favorable terms.",
            "{company} opened its {product} plant two months ahead of plan and below budget.",
            "{gain} at {company} {rose} for the third time in a row, by {percent}.",
            "Investors welcomed the plan of {company}, and the stock {rose} {percent}.",
        ),
        "negative": (
            "{company} said its {gain} {fell} {percent} to {lessmoney} in the {quarter} quarter.",
            "The {gain} of {company} {fell} to {lessmoney} from {money} a year earlier.",
            "{company} {missed} analyst forecasts for the {quarter} quarter with {gain} of {money}.",
            "{company} said its {burden} {rose} by {percent} and expects more of it in {month}.",
            "{company} lost an order worth {money} from a customer in {place}.",
            "Shares of {company} {fell} {percent} after the {gain} came in worse than expected.",
            "{company} lowered its outlook for the year because of weak demand for {product}.",
            "The regulator in {place} rejected the {product} of {company}.",
            "{company} will lay off {count} people in {place} as demand shrinks.",
            "{company} swung to a loss of {money} after a profit in the same period last year.",
            "{person}, chief executive of {company}, called it the worst {quarter} quarter so far.",
            "{company} will suspend its dividend after poor {gain}.",
            "The {burden} of {company} {rose} {percent}, which hurt its margin.",
            "{company} is losing market share in {product}, an analyst in {place} wrote.",
            "A rating agency downgraded {company} after its {burden} {rose} to {money}.",
            "Customers are unhappy with the new {product} of {company}, a survey shows.",
            "{company} failed to repay {money} of debt because of weak cash flow.",
            "The order book of {company} {fell} to a low of {lessmoney} in {month}.",
            "{company} was fined {money} in {place} for breaking safety rules.",
            "{company} delayed its {product} plant by a year and warned that it is over budget.",
            "{gain} at {company} {fell} for the third time in a row, by {percent}.",
            "Investors disliked the plan of {company}, and the stock {fell} {percent}.",
        ),
        "neutral": (
            "{company} will publish its report for the {quarter} quarter on {day} {month}.",
            "{company} makes {product} and has its head office in {place}.",
            "The annual meeting of {company} takes place in {place} on {day} {month}.",
            "{person} joined the board of {company} in {month}.",
            "{company} said its {gain} of {money} was unchanged from a year earlier.",
            "{company} has about {count} employees in {place}.",
            "{company} moved its office for {product} from one building in {place} to another.",
            "The report of {company} covers the {quarter} quarter and was filed in {month}.",
            "{company} kept its outlook for the year as it was.",
            "{company} will change the name of its {product} unit in {month}.",
            "{person}, who works for {company} in {place}, will speak at a conference on {day} {month}.",
            "The shares of {company} are listed in {place} and trade in lots of {count}.",
            "{company} appointed {person} as head of {product}.",
            "The financial year of {company} ends in {month}.",
            "{company} sells {product} in {count} shops.",
            "The value of the deal between {company} and a firm in {place} was not given.",
            "Shares of {company} were flat after the {quarter} quarter report.",
            "{company} publishes its {gain} twice a year.",
            "{company} filed the usual form about its holdings on {day} {month}.",
            "Analysts expect {company} to report {gain} of about {money} in {month}.",
            "{company} chose another auditor, as the rules require.",
            "{company} explained how it measures its {burden}.",
        ),
    },
    "test": {
        "positive": (
            "Helped by strong {product}, {gain} at {company} {rose} to {money}.",
            "{company} reported {gain} of {money}, {percent} better than analysts had expected.",
            "In {place}, {company} won approval for its {product} and raised its forecast.",
            "Profit doubled at {company} in {month} as its {burden} {fell}.",
            "{company} stock {rose} {percent} in {place} on record {gain}.",
            "After a strong {month}, {company} will hire {count} more workers and lift its dividend.",
            "Lower {burden} and growing demand for {product} lifted {company}, said {person}.",
            "{person} of {company} said that {gain} {rose} {percent} and that orders hit a record.",
            "For {company} the {quarter} quarter was better than expected: {gain} {rose} {percent}.",
            "Upgraded: {company} gains after it {beat} forecasts, and its {burden} {fell} again.",
        ),
        "negative": (
            "Hurt by weak {product}, {gain} at {company} {fell} to {lessmoney}.",
            "{company} reported {gain} of {lessmoney}, {percent} worse than analysts had expected.",
            "In {place}, {company} was fined over its {product} and lowered its forecast.",
            "The loss widened at {company} in {month} as its {burden} {rose}.",
            "{company} stock {fell} {percent} in {place} on poor {gain}.",
            "After a weak {month}, {company} will lay off {count} workers and suspend its dividend.",
            "Higher {burden} and shrinking demand for {product} hurt {company}, said {person}.",
            "{person} of {company} said that {gain} {fell} {percent} and that orders were lost.",
            "For {company} the {quarter} quarter was worse than expected: {gain} {fell} {percent}.",
            "Downgraded: {company} loses after it {missed} forecasts, and its {burden} {rose} again.",
        ),
        "neutral": (
            "On {day} {month}, {company} will hold its meeting for shareholders in {place}.",
            "{place} is where {company} has its office for {product}.",
            "{company} will file its {quarter} quarter report in {month}, as it usually does.",
            "In {month}, {person} will be appointed to the board of {company}.",
            "{company} has {count} employees, of whom some work in {place}.",
            "At {company}, {gain} stayed unchanged at {money}.",
            "{person} will speak about {product} for {company} on {day} {month}.",
            "The report names {person} as auditor of {company} and covers {month}.",
            "{company}, a maker of {product}, is listed in {place}.",
            "How {company} measures {gain} is explained in its report of {day} {month}.",
        ),
    },
}

#: split -> wordings of made-up agreements; each names at least two entities.
AGREEMENTS: Final[dict[str, tuple[str, ...]]] = {
    "train": (
        "This Loan Agreement is dated {day} {month} {year} between {organization} and {organization2}.",
        "{organization}, a corporation with its office in {location}, is called the Borrower.",
        "Signed for {organization} by {person}, its {role}.",
        "The Lender is {organization}, and {person} of {location} is the guarantor.",
        "{person} lives in {location} and owns {percent} of the shares.",
        "Notices to {organization} go to its branch in {location}, attention of {person}.",
        "{organization} will lend {money} to {organization2} at {percent} a year.",
        "The building in {location} is leased to {organization} until {month} {year}.",
        "By signing, {person} agrees to the terms set by {organization}.",
        "The courts of {location} decide any dispute between {person} and {organization}.",
        "{person}, {role} of {organization}, signed the note on {day} {month}.",
        "The Company moved from {location} to {location2} in {month} {year}.",
        "{organization} pledged its equipment in {location} to {organization2}.",
        "The undersigned, {person}, was appointed {role} on {day} {month} {year}.",
        "All payments are made to {organization} at its bank in {location}.",
        "A copy was sent to {person} and to {person2} on {day} {month}.",
        "The law of {location} governs this Agreement with {organization}.",
        "{organization} bought all shares of {organization2} for {money}.",
        "The land near {location} belongs to {person}.",
        "{person} resigned as {role}, and {person2} took over.",
        "Between {location} and {location2} the Borrower runs {count} trucks.",
        "The audit of {organization} was done by {organization2}.",
        "In the presence of {person}, a notary in {location}.",
        "{organization} employs {count} people in {location} and {location2}.",
        "The note of {money} is payable to {person} by {organization}.",
        "If {organization} fails to pay, {organization2} may sell the property in {location}.",
    ),
    "test": (
        "{organization}, whose seat is {location}, promises to pay {money} to {organization2}.",
        "For and on behalf of {organization}: {person}, {role}.",
        "{person} was born in {location} and works for {organization}.",
        "Any letter to {person} is sent to the office of {organization} in {location}.",
        "On {day} {month} {year}, {organization} and {organization2} signed the credit facility.",
        "The warehouse in {location} was sold by {organization} to {person}.",
        "Mr. {person} and Ms. {person2} are officers of {organization}.",
        "The agent, {organization}, has offices in {location} and in {location2}.",
        "{person} gave {organization} a guarantee of {money}.",
        "Delivery takes place in {location} unless {person} agrees otherwise.",
        "As {role} of {organization}, {person} receives {money} a year.",
        "The merger of {organization} with {organization2} was agreed in {location}.",
    ),
}

GAINS: Final = (
    "profit",
    "revenue",
    "net sales",
    "operating income",
    "earnings",
    "cash flow",
    "turnover",
)
BURDENS: Final = (
    "costs",
    "debt",
    "interest expense",
    "losses",
    "tax burden",
    "complaints",
    "expenses",
)
ROSE: Final = ("rose", "climbed", "increased", "grew", "jumped", "went up", "surged")
FELL: Final = ("fell", "dropped", "decreased", "declined", "slid", "went down", "shrank")
BEAT: Final = ("beat", "topped", "exceeded")
MISSED: Final = ("missed", "fell short of", "did not reach")
PRODUCTS: Final = (
    "batteries|solar panels|software|medical devices|trucks|insurance|paper|cement|sensors|coffee|"
    "furniture|steel pipes|pumps|toys|fertilizer|optical cable|elevators|vaccines"
).split("|")
ROLES: Final = (
    "Chief Financial Officer|President|Vice President|Treasurer|Secretary|Managing Director|"
    "Chief Executive Officer|Controller"
).split("|")
MONTHS: Final = (
    "January February March April May June July August September October November December"
).split()
QUARTERS: Final = ("first", "second", "third", "fourth")
CURRENCIES: Final = ("${}", "€{}", "£{}", "EUR {}", "USD {}", "CHF {}")

STEM_STARTS: Final = (
    "Aldu Brev Cast Dorv Elph Fyrn Grav Hesp Istr Jarn Kveld Lorm Myrt Nost Orph Pelv Quor Risk "
    "Sorv Tavr Ulm Vost Wrend Yelm Zorb"
).split()
STEM_ENDS: Final = "ael adin ax ell emar eth ika ilon imor ona oreth ov una uvar yss ysta".split()
COMPANY_KINDS: Final = (
    "Bank|Foods|Energy|Holdings|Industries|Logistics|Motors|Pharma|Software|Steel|Trust|Capital|"
    "Insurance|Textiles|Partners|Group"
).split("|")
COMPANY_FORMS: Final = ("Inc.", "Corp.", "Ltd.", "PLC", "AG", "LLC", "N.A.", "Company")
PLACE_FORMS: Final = (
    "{} City|Port {}|{} Falls|{} County|New {}|{} Valley|Lake {}|{} Bay|Mount {}|{} Springs|North {}"
).split("|")
FIRST_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "train": tuple(
        (
            "Aveline Bertrix Corvan Delmira Edvane Fennick Galdis Hestrel Ivorne Jelka Korwin Lisbeta "
            "Marvo Nelrika Ottmer Perlina Quellin Rosvita Sandrik Tilwen Ulvard Velsina Wimbert Xandrel"
        ).split()
    ),
    "test": tuple(
        "Arvella Brontik Cilvane Dagwen Estrik Florvin Gretmar Holvane Ismerin Jorvika".split()
    ),
}
