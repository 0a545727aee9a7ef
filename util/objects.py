"""Rows of objects: what is seen in one look, people first, then other things, each with score and class."""

from __future__ import annotations

import numpy as np

from util.boxes import MAX_BOXES
from util.coco import COCO_CLASSES

PEOPLE_ROWS, THING_ROWS = MAX_BOXES, 10  # apart, so that furniture never takes a person's place
ROWS = PEOPLE_ROWS + THING_ROWS
MOST_OF_A_CLASS = 3  # things, so that chairs leave places for a telephone
SCORE, CLASS, NUMBERS = 4, 5, 6  # of a row: x0, y0, x1, y1, score, class
PERSON = 1  # class of a row: 1 + the class of COCO, 0 in rows that hold no object


def rows_of_people(boxes: np.ndarray) -> np.ndarray:
    """Boxes of people (..., 6, 4), rows of zeros are nobody -> rows (..., 16, 6) float32.

    The score of people is 1: how sure a detector was of them has never been told to a network.
    """
    rows = np.zeros((*boxes.shape[:-2], ROWS, NUMBERS), dtype=np.float32)
    people = rows[..., :PEOPLE_ROWS, :]
    people[..., :SCORE] = boxes
    people[..., SCORE:] = (np.asarray(boxes) != 0).any(axis=-1)[..., None] * np.array([1, PERSON], dtype=np.float32)
    return rows


def rows_of_things(things: np.ndarray) -> np.ndarray:
    """Things (..., k, 6) as `util.things.Things` has them -> their rows (..., k, 6)."""
    rows = np.array(things, dtype=np.float32)
    rows[..., CLASS] += 1
    return rows


def object_rows(boxes: np.ndarray, things: np.ndarray) -> np.ndarray:
    """People (6, 4) and chosen things (k, 6), k at most 10, of one look -> rows (16, 6)."""
    rows = rows_of_people(boxes)
    rows[PEOPLE_ROWS : PEOPLE_ROWS + len(things)] = rows_of_things(things)
    return rows


def example_rows(shares: np.ndarray) -> np.ndarray:
    """Numbers (..., 16, 6) in [0, 1) -> rows of objects of every class, people in the places of people."""
    rows = np.array(shares, dtype=np.float32)
    rows[..., :PEOPLE_ROWS, SCORE:] = 1, PERSON
    rows[..., PEOPLE_ROWS:, CLASS] = PERSON + 1 + np.floor((len(COCO_CLASSES) - 1) * rows[..., PEOPLE_ROWS:, CLASS])
    return rows
