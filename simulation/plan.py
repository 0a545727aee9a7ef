"""Who gets what before any clip is made: rooms and clip names, and a balanced deck of classes dealt to the clips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulation.picture import sample_background
from simulation.room import absorption_for_rt60
from simulation.scene import Room
from simulation.settings import LISTENER_HEIGHT_M, LISTENER_OFF_CENTRE, SCENES, Settings
from simulation.streams import stream

SPLITS = ("train", "test")
LEAST_TEST_EVENTS, LEAST_TEST_CLIPS = 6, 3


@dataclass(frozen=True)
class ClipPlan:
    """What is decided about a clip beforehand.

    Attributes
    ----------
    name : stem of its files
    room : shared with the split's other clips of this room
    background : what the room looks like
    classes : one class index per event, in no order
    moving : how many of them move
    same_class : whether two of one class should sound at once, where the deck gave it a pair
    """

    name: str
    split: str
    room: Room
    background: dict
    classes: tuple[int, ...]
    moving: int
    same_class: bool


def make_plan(settings: Settings) -> list[ClipPlan]:
    """All clips of the data set, train first.

    Raises
    ------
    InputError : no walls give the asked reverberation time in a room of the asked size
    """
    plans, first_room = [], 1
    mean_s = float(np.mean([row.duration_s for row in settings.sound_classes]))
    for split in SPLITS:
        count = settings.clips(split)
        if not count:
            continue
        rooms = _rooms(settings, split, first_room)
        first_room += settings.train_rooms if split == "train" else 0
        rng = stream(settings.seed, split, "deck")
        sizes = _sizes(rng, count, settings.polyphony * settings.seconds / mean_s)
        hands = deal(rng, sizes, len(settings.sound_classes))
        movers = _rounded(rng, np.array(sizes) * (0.0 if settings.doa_grid_deg else settings.moving))
        wanting = _rounded(rng, np.full(count, settings.same_class))
        fold = 3 if split == "train" else 4
        made = [0] * len(rooms)
        for clip in range(count):
            index = clip % len(rooms)
            room, background = rooms[index]
            made[index] += 1
            name = f"fold{fold}_{room.name}_mix{made[index]:03d}{SCENES[settings.layout].suffix}"
            hand = tuple(hands[clip])
            plans.append(ClipPlan(name, split, room, background, hand, int(movers[clip]), bool(wanting[clip])))
    return plans


def _rooms(settings: Settings, split: str, first: int) -> list[tuple[Room, dict]]:
    count = settings.rooms(split)
    rng = stream(settings.seed, split, "rooms")
    order = rng.permutation(count)
    rooms = []
    for index in range(count):
        limits_m = settings.room_m, settings.room_m, settings.room_height_m
        length, width, height = (round(float(rng.uniform(*limits)), 2) for limits in limits_m)
        size = (length, width, height)
        listener = (
            round(size[0] * (0.5 + rng.uniform(-1, 1) * LISTENER_OFF_CENTRE), 2),
            round(size[1] * (0.5 + rng.uniform(-1, 1) * LISTENER_OFF_CENTRE), 2),
            round(float(rng.uniform(*LISTENER_HEIGHT_M)), 2),
        )
        low, high = settings.rt60_s
        # one room out of every part of the range, so that a split has dry and reverberant ones
        rt60_s = round(float(low + (high - low) * (order[index] + rng.uniform()) / count), 3)
        room = Room(f"room{first + index}", size, listener, rt60_s, absorption_for_rt60(size, rt60_s))
        rooms.append((room, sample_background(stream(settings.seed, split, "background", index), split)))
    return rooms


def _rounded(rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    """Values -> integers next to them whose running sum follows that of the values (a random phase, no drift)."""
    edges = np.floor(np.concatenate([[0.0], np.cumsum(values)]) + rng.uniform())
    return np.diff(edges).astype(np.int64)


def _sizes(rng: np.random.Generator, clips: int, mean: float) -> list[int]:
    """Events per clip: around the mean, one more here and one less there, at least one."""
    sizes = np.maximum(_rounded(rng, np.full(clips, mean)), 1)
    if mean >= 4:
        shift = rng.integers(0, 2, clips // 2)
        sizes[: clips // 2] += shift
        sizes[clips // 2 : 2 * (clips // 2)] -= shift
    return [int(size) for size in rng.permutation(sizes)]


_DEALS = 1000  # at most


def deal(rng: np.random.Generator, sizes: list[int], classes: int) -> list[list[int]]:
    """Deal a balanced deck: every class equally often (one more for some), in at least 3 clips where that can be.

    Parameters
    ----------
    sizes : cards per clip

    Returns
    -------
    class indices per clip
    """
    total = sum(sizes)
    deck = np.concatenate([np.tile(np.arange(classes), total // classes), rng.permutation(classes)[: total % classes]])
    for _ in range(_DEALS):
        shuffled = [int(card) for card in rng.permutation(deck)]
        hands = [[shuffled.pop() for _ in range(size)] for size in sizes]
        for index in range(classes):
            while _clips_with(hands, index) < _needed(hands, index) and _spread(hands, index):
                pass
        # single swaps may come to a halt where few clips hold many classes: then the deck is dealt anew
        if all(_clips_with(hands, index) >= _needed(hands, index) for index in range(classes)):
            break
    return hands


def _clips_with(hands: list[list[int]], card: int) -> int:
    return sum(card in hand for hand in hands)


def _needed(hands: list[list[int]], card: int) -> int:
    """In how many clips a class should lie."""
    return min(LEAST_TEST_CLIPS, len(hands), sum(hand.count(card) for hand in hands))


def _spread(hands: list[list[int]], index: int) -> bool:
    """Swap one card of a class out of the clip with most of them into one without, at no other class's cost.

    Returns whether there was such a swap; every one brings the class into one more clip.
    """
    giver = max(hands, key=lambda hand: hand.count(index))
    if giver.count(index) < 2:
        return False
    for taker in hands:
        for card in taker if index not in taker else ():
            loses = taker.count(card) == 1 and card in giver
            if _clips_with(hands, card) - loses >= _needed(hands, card):
                giver[giver.index(index)] = card
                taker[taker.index(card)] = index
                return True
    return False
