"""Values that no slot may take, and goals whose things traded places."""

from __future__ import annotations

import pytest

from llmos_workers.config import DispatcherConfig
from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.learning.matching.compare import compare
from llmos_workers.learning.matching.embedder import bundled_embedder
from tests.learning.matching.conftest import step
from tests.learning.matching.test_slots import ask, declared, replayed

THRESHOLD = DispatcherConfig().follower_threshold

AGENDA = declared("Send the agenda to Priya and the budget to Tom",
                  step("Send", agenda="Priya", budget="Tom"),
                  one="Priya", two="Tom")  # fmt: skip
COPY = declared("Copy the file data/input.csv to archive/2026",
                step("Copy", source="data/input.csv", to="archive/2026"),
                source="data/input.csv", to="archive/2026")  # fmt: skip
MERGE = declared("Merge the branch feature-login into develop and push it to origin",
                 step("Merge", branch="feature-login", into="develop", remote="origin"),
                 branch="feature-login", into="develop", remote="origin")  # fmt: skip
UNPACK = declared("Download https://a.example/a.zip and unpack it to /srv/app",
                  step("Unpack", url="https://a.example/a.zip", to="/srv/app"),
                  url="https://a.example/a.zip", to="/srv/app")  # fmt: skip
TIMER = declared("Set a timer called Pasta for 9 minutes", step("Timer", name="Pasta", n=9),
                 name="Pasta", n="9")  # fmt: skip
TICKET = declared("Assign ticket 381 to Nadia with priority high",
                  step("Assign", n=381, to="Nadia", priority="high"),
                  n="381", to="Nadia", priority="high")  # fmt: skip
ORDERS = declared("Show Lena's last 5 orders", step("Orders", of="Lena", n=5), of="Lena", n="5")
RESTART = declared("Restart the service nginx on host web1 and wait 30 seconds",
                   step("Restart", service="nginx", host="web1", n=30),
                   service="nginx", host="web1", n="30")  # fmt: skip
WAKE = declared("Wake me at 6:45 on weekdays with the playlist Morning",
                step("Wake", at="6:45", playlist="Morning"),
                at="6:45", playlist="Morning")  # fmt: skip
MAIL = declared("Email the file plan.docx to lea@corp.example",
                step("Mail", file="plan.docx", to="lea@corp.example"),
                file="plan.docx", to="lea@corp.example")  # fmt: skip


@pytest.mark.parametrize(
    ("trace", "goal"),
    [
        (AGENDA, "Send the agenda to Olga and the budget to him"),
        (COPY, "Copy the file data/*.csv to archive/2026"),
        (MERGE, "Merge the branch hotfix into main, squash it and push it to origin"),
        (UNPACK, "Download https://a.example/b.zip and unpack it to ../app"),
        (UNPACK, "Download https://a.example/b.zip and unpack it over /srv/app"),
        (TIMER, "Set a timer called Eggs in 6 minutes"),
        (TICKET, "Assign the 17th ticket to Nadia with priority high"),
        (TICKET, "Assign ticket 17 to Nadia's team with priority high"),
        (ORDERS, "Show Marco's sister's last 5 orders"),
        (RESTART, "Wait 30 seconds and restart the service redis on host web1"),
        (RESTART, "Restart the service redis from host web2 and wait 30 seconds"),
        (WAKE, "Wake me at 7:10 pm on weekdays with the playlist Morning"),
        (WAKE, "Wake me at 7:10 on weekdays with a random playlist"),
        (MAIL, "Email the text of budget.docx to max@corp.example"),
    ],
)
def test_what_is_no_value_of_the_slot_is_not_bound(trace: ExecutionTrace, goal: str) -> None:
    found = ask(trace, goal)
    assert found is None or found.confidence < THRESHOLD


@pytest.mark.parametrize(
    ("trace", "goal", "arguments"),
    [
        (AGENDA, "Send the agenda to Olga and the budget to Luis",
         {"agenda": "Olga", "budget": "Luis"}),
        (TICKET, "Assign ticket 17 to Omar with priority low",
         {"n": 17, "to": "Omar", "priority": "low"}),
        (WAKE, "Wake me at 5:30 on weekdays with the playlist Slow Jazz",
         {"at": "5:30", "playlist": "Slow Jazz"}),
    ],
)  # fmt: skip
def test_the_same_traces_take_values_of_their_kind(
    trace: ExecutionTrace, goal: str, arguments: dict[str, object]
) -> None:
    assert replayed(trace, goal) == [arguments]


@pytest.mark.parametrize(
    ("known", "asked"),
    [
        (MERGE.goal_text, "Merge the branch develop into feature-login and push it to origin"),
        ("Stop nginx and wait 30 seconds", "Wait 30 seconds and stop nginx"),
        ("Move Ann from sales to support and tell Bob",
         "Move Bob from sales to support and tell Ann"),
        (AGENDA.goal_text, "Send the agenda to Tom and the budget to Priya"),
        ("Delete the file a.txt", "Clear the file a.txt"),
    ],
)  # fmt: skip
def test_traded_things_and_deeds_are_never_followed(known: str, asked: str) -> None:
    for one, two in ((known, asked), (asked, known)):
        assert compare(one, two, bundled_embedder().embed).confidence < THRESHOLD


REVERT = declared("Revert commit 4f2a91c on main and push it",
                  step("Revert", c="4f2a91c", on="main"), c="4f2a91c", on="main")  # fmt: skip
GROUP = declared("Add the user deploy on host db1 to the group docker",
                 step("Add", user="deploy", host="db1", group="docker"),
                 user="deploy", host="db1", group="docker")  # fmt: skip
LEASE = declared("Find the email with the signed lease and print it", step("Find", what="signed"),
                 what="signed")  # fmt: skip
COVER = declared("Set my reply, saying Lukas is covering for me", step("Reply", who="Lukas"),
                 who="Lukas")  # fmt: skip
ROBOT = declared("Let the robot clean the hallway and then the kitchen",
                 step("Clean", one="hallway", two="kitchen"),
                 one="hallway", two="kitchen")  # fmt: skip
BURN = declared("Burn the subtitles from film.srt into film.mp4, output film_sub.mp4",
                step("Burn", subs="film.srt", film="film.mp4", out="film_sub.mp4"),
                subs="film.srt", film="film.mp4", out="film_sub.mp4")  # fmt: skip
FLIGHT = declared("Forward the itinerary from KLM to my brother Jonas",
                  step("Forward", sender="KLM", to="Jonas"), sender="KLM", to="Jonas")  # fmt: skip
BRANCH = declared("Create a branch hotfix/login from tag v2.3.1",
                  step("Branch", name="hotfix/login", tag="v2.3.1"),
                  name="hotfix/login", tag="v2.3.1")  # fmt: skip
PODS = declared("Restart the pods in namespace shop", step("Restart", of="shop"), of="shop")
IMAGE = declared("Tag the image gateway:dev as gateway:1.8.0", step("Tag", a="gateway:dev",
                 b="gateway:1.8.0"), a="gateway:dev", b="gateway:1.8.0")  # fmt: skip
BACKUP = declared("Unpack site.zip into /srv/projects/orion.", step("Unpack", f="site.zip",
                  to="/srv/projects/orion"), f="site.zip", to="/srv/projects/orion")  # fmt: skip
SCALE = declared("Scale the deployment search-api in namespace prod-eu",
                 step("Scale", what="search-api", space="prod-eu"),
                 what="search-api", space="prod-eu")  # fmt: skip
LEAD = declared("Assign the lead Vertex GmbH to Ines",
                step("Assign", lead="Vertex GmbH", to="Ines"),
                lead="Vertex GmbH", to="Ines")  # fmt: skip
PARCEL = declared("Track parcel JD0148822", step("Track", n="JD0148822"), n="JD0148822")
RENT = declared("Reply to our landlord that we accept the new rent", step("Reply", what="rent"),
                what="rent")  # fmt: skip
LOCK = declared("Lock the account m.krause on the server", step("Lock", who="m.krause"),
                who="m.krause")  # fmt: skip


@pytest.mark.parametrize(
    ("trace", "goal", "arguments"),
    [
        (REVERT, "Revert commit 9ac01ee on release-2.4 and push it.",
         {"c": "9ac01ee", "on": "release-2.4"}),
        (GROUP, "Add the user deploy on host app7 to the group www-data.",
         {"user": "deploy", "host": "app7", "group": "www-data"}),
        (BRANCH, "Create a branch hotfix/login from tag v3.0.0-rc1",
         {"name": "hotfix/login", "tag": "v3.0.0-rc1"}),
        (PODS, "Restart the pods in namespace shop-eu", {"of": "shop-eu"}),
        (IMAGE, "Tag the image mailer:dev as mailer:1.8.0",
         {"a": "mailer:dev", "b": "mailer:1.8.0"}),
        (BACKUP, "Unpack site.zip into /srv/projects/lyra.",
         {"f": "site.zip", "to": "/srv/projects/lyra"}),
        (RENT, "Reply to our landlord that we accept the new contract", {"what": "contract"}),
        (LOCK, "Lock the account t.ebner on the server", {"who": "t.ebner"}),
        (SCALE, "Scale the deployment mail-worker in namespace prod-us",
         {"what": "mail-worker", "space": "prod-us"}),
        (LEAD, "Assign the lead Nordlys AS to Marek", {"lead": "Nordlys AS", "to": "Marek"}),
        (LEAD, "Assign the lead Two Sisters to Marek", {"lead": "Two Sisters", "to": "Marek"}),
        (PARCEL, "Track parcel 00340434161", {"n": "00340434161"}),
    ],
)  # fmt: skip
def test_a_value_is_a_whole_written_word(
    trace: ExecutionTrace, goal: str, arguments: dict[str, object]
) -> None:
    assert replayed(trace, goal) == [arguments]


@pytest.mark.parametrize(
    ("trace", "goal"),
    [
        (LEASE, "Find the email with the singed lease and print it"),
        (LEASE, "Find the email with the unsigned lease and print it"),
        (COVER, "Set my reply, saying nobody is covering for me"),
        (ROBOT, "Let the robot clean the hallway and then go back to its dock"),
        (FLIGHT, "Forward the itinerary from my brother Jonas to KLM"),
        (BURN, "As film_sub.mp4 I want a version of film.mp4 with the subtitles from film.srt"),
        (BRANCH, "Create a GitHub release hotfix-login from tag v2.3.1"),
    ],
)
def test_a_slip_an_opposite_and_a_clause_are_no_values(trace: ExecutionTrace, goal: str) -> None:
    found = ask(trace, goal)
    assert found is None or found.confidence < THRESHOLD


def test_a_word_written_to_another_one_is_not_passed_over() -> None:
    embed = bundled_embedder().embed
    known, asked = "Deploy the branch main to web", "Deploy the branch main-data to web"
    assert compare(known, asked, embed).confidence < THRESHOLD
