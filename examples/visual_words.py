"""Bag of visual words on scikit-learn's digits, beside a network that sees the pixels where they are.

A picture becomes a heap of small patches, each patch the nearest of some dozens of typical ones, and the picture a
histogram of these words. A linear classifier reads the histogram, which says what there is but not where.

    python examples/visual_words.py
"""

from __future__ import annotations

import sys

import numpy as np
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import load_digits
from sklearn.feature_extraction.image import extract_patches_2d
from sklearn.model_selection import train_test_split

import fastgd as fg

PATCH, N_WORDS = 4, 100


def patches_of(pictures):
    """Return all patches of each picture as rows, their mean taken away: (n_pictures, n_patches, PATCH^2)."""
    patches = np.stack([extract_patches_2d(picture, (PATCH, PATCH)).reshape(-1, PATCH**2) for picture in pictures])
    return patches - patches.mean(axis=2, keepdims=True)


def histograms(patches, words):
    """Return how often each word occurs in a picture, as shares: (n_pictures, N_WORDS)."""
    n_pictures, n_patches, _ = patches.shape
    nearest = words.predict(patches.reshape(n_pictures * n_patches, -1)).reshape(n_pictures, n_patches)
    counts = np.stack([np.bincount(row, minlength=N_WORDS) for row in nearest])
    # Roots of shares: what is frequent shall not be all that counts.
    return np.sqrt(counts / n_patches).astype(np.float32)


def accuracy(hidden, X, y, X_test, y_test):
    """Train a softmax classifier, with hidden layers or without, and return its share of new digits it gets right."""
    layers = [fg.Dense(units, activation="relu") for units in hidden]
    model = fg.Sequential(
        [*layers, fg.Dense(10)], loss="softmax_cross_entropy", optimizer=fg.Adam(5e-3), penalty=fg.L2(1e-5)
    )
    model.fit(X, y, epochs=100)
    return model.evaluate(X_test, y_test)["accuracy"]


def main():
    """Train on words and on pixels, and print what each gets right."""
    bunch = load_digits()
    pictures, pictures_test, y, y_test = train_test_split(
        bunch.images / 16, bunch.target, test_size=0.25, stratify=bunch.target, random_state=0
    )
    patches, patches_test = patches_of(pictures), patches_of(pictures_test)
    words = MiniBatchKMeans(N_WORDS, n_init=1, random_state=0).fit(patches.reshape(-1, PATCH**2))
    in_words = histograms(patches, words), y, histograms(patches_test, words), y_test
    in_pixels = (
        pictures.reshape(len(y), -1).astype(np.float32),
        y,
        pictures_test.reshape(len(y_test), -1).astype(np.float32),
        y_test,
    )
    of_words, of_pixels = accuracy((), *in_words), accuracy((), *in_pixels)
    of_network = accuracy((64,), *in_pixels)
    print(f"{'words, linear':20}{of_words:8.3f}")
    print(f"{'pixels, linear':20}{of_pixels:8.3f}")
    print(f"{'pixels, network':20}{of_network:8.3f}")
    if min(of_words, of_pixels, of_network) < 0.85:
        sys.exit("one of them stayed below 85 %")


if __name__ == "__main__":
    main()
