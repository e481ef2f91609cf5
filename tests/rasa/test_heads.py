import unittest

import numpy as np

from bot.components.heads import Groups, Neighbours, closeness


class Closeness(unittest.TestCase):
    def test_it_is_the_mean_of_the_nearest_wherever_a_labels_examples_stand(self) -> None:
        labels = np.array(["b", "a", "b", "b", "a", "c"])
        cosines = np.array([[0.1, 0.9, 0.5, 0.3, 0.7, 0.2], [0.5, 0.5, 0.5, 0.1, -0.5, 1.1]], np.float32)
        expected = [[0.8, 0.4, 0.2], [0.0, 0.5, 1.0]]
        assert np.allclose(closeness(cosines, Groups.of(labels), 2), expected)
        together = np.argsort(labels, kind="stable")
        assert np.allclose(closeness(cosines[:, together], Groups.of(labels[together]), 2), expected)

    def test_a_label_of_few_examples_is_judged_by_those(self) -> None:
        cosines = np.array([[0.6, 0.2, 0.4]], np.float32)
        assert np.allclose(closeness(cosines, Groups.of(np.array([0, 1, 1])), 3), [[0.6, 0.3]])

    def test_what_was_compared_stays_as_it_is(self) -> None:
        cosines = np.array([[0.6, 0.2, 0.4]], np.float32)
        before = cosines.copy()
        closeness(cosines, Groups.of(np.array([0, 1, 1])), 2)
        assert (cosines == before).all()

    def test_many_vectors_are_compared_as_few_are(self) -> None:
        rng = np.random.default_rng(1)
        vectors = rng.normal(size=(40, 200)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        near = Neighbours.of(vectors)
        one_by_one = np.vstack([near.cosines(vector[np.newaxis]) for vector in vectors[:12]])
        assert np.allclose(near.cosines(vectors[:12]), one_by_one, atol=1e-5)


if __name__ == "__main__":
    unittest.main()
