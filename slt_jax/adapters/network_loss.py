"""Losses of networks per datum: any flax linen or nnx module, or any function of a pytree."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import Array

from slt_jax.run.compilation import jit_at_first_call

Tree = Any
Flat = dict[tuple[Any, ...], Any]
# These ship no types.
flattened: Callable[[Any], Flat] = flatten_dict
unflattened: Callable[[Flat], dict[Any, Any]] = unflatten_dict
OutputLoss = Callable[[Array, Any], Array]
NamedLoss = Literal["cross_entropy", "gaussian"]


class Checkpoints(NamedTuple):
    """The weights of one network at C checkpoints, and its loss of each datum in nats.

    ``loss`` maps (sampled weights, other variables, batch) to [batch]. It is hashable, and two of
    the same module are equal. ``params`` are C trees of the weights that are sampled, and
    ``others`` those of all other variables, such as running means, which stay as they are.
    """

    loss: Callable[[Tree, Tree, Tree], Array]
    params: tuple[Tree, ...]
    others: tuple[Tree, ...]


def checkpoints_of(
    model_or_loss: Any, params: Any, loss: OutputLoss | NamedLoss | None
) -> Checkpoints:
    """Read a module or a function with the weights of one or more checkpoints.

    A list is a list of checkpoints. For an nnx module a checkpoint is another such module or a
    state, and None stands for the module itself. ``loss`` maps the outputs of a module and the
    targets to nats per datum, or is "cross_entropy" or "gaussian"; functions have none. Raises
    ValueError for anything else.
    """
    each = params if isinstance(params, list) else [params]
    if not each:
        raise ValueError("params = []: must be at least one checkpoint")
    if isinstance(model_or_loss, nnx.Module):
        found = _of_nnx(model_or_loss, each, _output_loss(loss))
    elif isinstance(model_or_loss, linen.Module):
        found = _of_linen(model_or_loss, each, _output_loss(loss))
    elif not callable(model_or_loss) or isinstance(model_or_loss, type):
        raise ValueError(
            f"model_or_loss = {model_or_loss!r}: must be a flax linen module, a flax nnx module or "
            "a function loss(params, batch)"
        )
    elif loss is not None:
        raise ValueError(
            "loss is for modules: the function loss(params, batch) returns nats per datum itself"
        )
    else:
        none: tuple[Tree, ...] = ({},) * len(each)
        found = Checkpoints(FunctionLoss(model_or_loss), tuple(each), none)
    return found._replace(
        params=_alike(found.params), others=tuple(map(_default_types, found.others))
    )


@dataclass(frozen=True)
class FunctionLoss:
    """The loss that a function of (params, batch) returns."""

    function: Callable[[Tree, Tree], Array]

    def __call__(self, params: Tree, others: Tree, batch: Tree) -> Array:
        return self.function(params, batch)


@dataclass(frozen=True)
class LinenLoss:
    """A loss of the outputs of a linen module; ``others`` are its other collections."""

    module: Any
    loss: OutputLoss

    def __call__(self, params: Tree, others: Tree, batch: Tree) -> Array:
        inputs, targets = batch
        outputs = _value(self.module).apply({**others, "params": params}, inputs)
        return self.loss(outputs, targets)


@dataclass(frozen=True)
class NnxLoss:
    """A loss of the outputs of an nnx module, from its graph definition.

    ``chance`` are the paths of its random state, each with the name of a key's algorithm, or None
    for a counter, and its shape. No datum's loss may depend on it: it is the same at every call.
    """

    graph: Any
    chance: tuple[tuple[tuple[Any, ...], str | None, tuple[int, ...]], ...]
    loss: OutputLoss

    def __call__(self, params: Tree, others: Tree, batch: Tree) -> Array:
        inputs, targets = batch
        state = flattened(params) | flattened(others)
        for path, algorithm, shape in self.chance:
            counter = jnp.zeros(shape, jnp.uint32)
            state[path] = counter if algorithm is None else _keys(shape, algorithm)
        module = nnx.merge(_value(self.graph), unflattened(state))
        return self.loss(module(inputs), targets)


def _keys(shape: tuple[int, ...], algorithm: str) -> Array:
    return jnp.broadcast_to(jax.random.key(0, impl=algorithm), shape)


@dataclass(frozen=True, eq=False)
class _Held:
    """A constant that cannot be hashed, equal to itself alone."""

    value: Any


def _value(constant: Any) -> Any:
    return constant.value if isinstance(constant, _Held) else constant


def _hashable(constant: Any) -> Any:
    try:
        hash(constant)
    except TypeError:
        return _Held(constant)
    return constant


def _plain(tree: Mapping[Any, Any]) -> dict[Any, Any]:
    return {
        name: _plain(part) if isinstance(part, Mapping) else part for name, part in tree.items()
    }


def _of_linen(module: Any, each: Sequence[Any], loss: OutputLoss) -> Checkpoints:
    variables = []
    for place, checkpoint in enumerate(each):
        if not isinstance(checkpoint, Mapping):
            raise ValueError(
                f"params[{place}] is a {type(checkpoint).__name__}: must be the variables of the "
                "linen module, or their 'params'"
            )
        tree = _plain(checkpoint)
        variables.append(dict(tree) if "params" in tree else {"params": tree})
    params = tuple(tree.pop("params") for tree in variables)
    return Checkpoints(LinenLoss(_hashable(module), loss), params, tuple(variables))


def _of_nnx(module: Any, each: Sequence[Any], loss: OutputLoss) -> Checkpoints:
    graph, state = nnx.split(module)
    own = {path: leaf for path, leaf in nnx.to_flat_state(state)}
    sampled = {path for path, leaf in own.items() if isinstance(leaf, nnx.Param)}
    random = {path for path, leaf in own.items() if isinstance(leaf, nnx.RngState)}
    chance = []
    for path in sorted(random, key=str):
        is_key = jnp.issubdtype(own[path][...].dtype, jax.dtypes.prng_key)
        algorithm = str(jax.random.key_impl(own[path][...])) if is_key else None
        chance.append((path, algorithm, own[path][...].shape))
    values = {path: leaf[...] for path, leaf in own.items()}
    states = [_nnx_values(values, checkpoint, place) for place, checkpoint in enumerate(each)]
    _refuse_references(each)

    def part(state: Flat, paths: set[Any]) -> Tree:
        return unflattened({path: state[path] for path in sorted(paths, key=str)})

    fixed = set(own) - sampled - random
    return Checkpoints(
        NnxLoss(_hashable(graph), tuple(chance), loss),
        tuple(part(state, sampled) for state in states),
        tuple(part(state, fixed) for state in states),
    )


def _nnx_values(own: Flat, checkpoint: Any, place: int) -> Flat:
    """The values of all variables by path: those of a checkpoint, or else the module's own."""
    if checkpoint is None:
        return own
    state = nnx.state(checkpoint) if isinstance(checkpoint, nnx.Module) else checkpoint
    if not isinstance(state, nnx.State | Mapping):
        raise ValueError(
            f"params[{place}] is a {type(checkpoint).__name__}: must be a state of the nnx module, "
            "another such module, or None for the module itself"
        )
    if isinstance(state, nnx.State):
        state = nnx.to_pure_dict(state)
    values = flattened(_plain(state))
    unknown = sorted(set(values) - set(own), key=str)
    if unknown or not values:
        name = "/".join(map(str, unknown[0])) if unknown else "nothing"
        raise ValueError(f"params[{place}] has {name}, which the nnx module does not have")
    return own | values


def _refuse_references(each: Sequence[Any]) -> None:
    """Refuse checkpoints that are the same variables: training has changed the first of them."""
    seen: dict[int, int] = {}
    for place, checkpoint in enumerate(each):
        state = nnx.state(checkpoint) if isinstance(checkpoint, nnx.Module) else checkpoint
        if not isinstance(state, nnx.State):
            continue
        _, variable = next(iter(nnx.to_flat_state(state)))
        if isinstance(variable, nnx.Variable) and id(variable) in seen:
            raise ValueError(
                f"params[{seen[id(variable)]}] and params[{place}] are the same variables: "
                "nnx.state(module) follows the module as it is trained; keep nnx.clone(module)"
            )
        seen[id(variable)] = place


def _alike(params: Sequence[Tree]) -> tuple[Tree, ...]:
    """The weights in JAX's default float type. Raises ValueError for shapes that differ."""
    trees = tuple(map(_default_types, params))
    first = jax.tree.map(jnp.shape, trees[0])
    for place, tree in enumerate(trees):
        if jax.tree.map(jnp.shape, tree) != first:
            raise ValueError(
                f"params[{place}] has other shapes than params[0]: a list is a list of "
                "checkpoints; one checkpoint that is a list itself must be put in a list"
            )
    for path, leaf in jax.tree.leaves_with_path(trees[0]):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise ValueError(f"params{jax.tree_util.keystr(path)} is {leaf.dtype}: must be floats")
    if not jax.tree.leaves(trees[0]):
        raise ValueError("params: must hold at least one array")
    return trees


def _default_types(tree: Tree) -> Tree:
    return jax.tree.map(jnp.asarray, jax.tree.map(_in_default_type, tree))


def _in_default_type(leaf: Any) -> Any:
    floats = jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
    return jnp.asarray(leaf, jnp.result_type(float)) if floats else leaf


def _output_loss(loss: Any) -> OutputLoss:
    if isinstance(loss, str) and loss in NAMED:
        return NAMED[loss]
    if loss is None or isinstance(loss, str) or not callable(loss):
        raise ValueError(
            f"loss = {loss!r}: a module needs 'cross_entropy', 'gaussian' or a function of "
            "(outputs, targets) that returns nats per datum"
        )
    return loss


def cross_entropy(outputs: Array, targets: Any) -> Array:
    """Return −log softmax(outputs)[target] in nats per datum.

    ``outputs`` are logits [batch, class], and ``targets`` [batch] or [batch, 1] the numbers of the
    classes. Raises ValueError for other shapes.
    """
    labels = jnp.asarray(targets)
    if outputs.ndim != 2 or labels.shape not in ((len(outputs),), (len(outputs), 1)):
        raise ValueError(
            f"loss = 'cross_entropy' takes outputs [batch, class] and targets [batch], not "
            f"{outputs.shape} and {labels.shape}; give a function of (outputs, targets)"
        )
    index = labels.reshape(-1, 1).astype(int)
    return -jnp.take_along_axis(jax.nn.log_softmax(outputs), index, axis=1)[:, 0]


def gaussian(outputs: Array, targets: Any) -> Array:
    """Return ½|target − output|² + (q/2) log 2π, the loss of unit variance in nats per datum.

    ``outputs`` and ``targets`` have the same shape [batch, ...] but for axes of length one, with q
    numbers to a datum. Raises ValueError for other shapes.
    """
    values = jnp.asarray(targets)
    shapes = [[size for size in a.shape[1:] if size != 1] for a in (outputs, values)]
    if outputs.ndim < 1 or len(outputs) != len(values) or shapes[0] != shapes[1]:
        raise ValueError(
            f"loss = 'gaussian' takes outputs and targets of one shape, not {outputs.shape} and "
            f"{values.shape}; give a function of (outputs, targets)"
        )
    residuals = (values.reshape(outputs.shape) - outputs).reshape(len(outputs), -1)
    constant = residuals.shape[1] / 2 * jnp.log(2 * jnp.pi)
    return jnp.sum(residuals**2, axis=1) / 2 + constant


NAMED: dict[str, OutputLoss] = {"cross_entropy": cross_entropy, "gaussian": gaussian}


def batch_of(model_or_loss: Any, data: Any) -> tuple[Tree, int]:
    """Read the data as arrays in JAX's default types, and return their number n as well.

    For modules these are a pair (inputs, targets), for functions any tree whose arrays [n, ...]
    share their first axis. Raises ValueError for anything else and for n < 3.
    """
    if isinstance(model_or_loss, nnx.Module | linen.Module):
        if not isinstance(data, tuple | list) or len(data) != 2:
            raise ValueError(f"data is a {type(data).__name__}: must be a pair (inputs, targets)")
        data = tuple(np.asarray(part) if isinstance(part, list) else part for part in data)
    leaves, structure = jax.tree.flatten(data)
    arrays = [np.asarray(leaf) if not isinstance(leaf, Array) else leaf for leaf in leaves]
    for place, array in enumerate(arrays):
        kind = array.dtype
        if not any(jnp.issubdtype(kind, t) for t in (jnp.floating, jnp.integer, jnp.bool_)):
            raise ValueError(f"data: array {place} is {kind}; must be real numbers")
    sizes = sorted({array.shape[0] if array.ndim else 0 for array in arrays})
    if len(sizes) != 1 or sizes[0] < 3:
        raise ValueError(
            f"data: arrays have {' and '.join(map(str, sizes)) or 'no'} rows; must all have the "
            "same number, at least 3"
        )
    return _default_types(jax.tree.unflatten(structure, arrays)), sizes[0]


def check_loss(checkpoints: Checkpoints, batch: Tree, n: int) -> None:
    """Refuse a loss that is not one finite value per datum at each checkpoint.

    The loss of the last half of the data must be the same without the others, which also shows a
    draw of random numbers for each row. Raises ValueError also for labels that are no classes.
    """
    loss, params, others = checkpoints.loss, checkpoints.params[0], checkpoints.others[0]
    shape = jax.eval_shape(loss, params, others, batch).shape
    if shape == ():
        raise ValueError(
            "loss returns one number for a batch: must return one per datum, shape [batch], since "
            "a mean and a sum over data cannot be told apart"
        )
    if shape != (n,):
        raise ValueError(f"loss returns shape {shape}: must return one number per datum, ({n},)")
    if getattr(loss, "loss", None) is cross_entropy:
        _check_labels(loss, params, others, batch)
    half = jax.tree.map(lambda leaf: leaf[n // 2 :], batch)
    for place, (weights, rest) in enumerate(zip(*checkpoints[1:], strict=True)):
        whole = np.asarray(losses_of(loss, weights, rest, batch), float)
        if not np.all(np.isfinite(whole)):
            row = int(np.argmin(np.isfinite(whole)))
            raise ValueError(f"loss of datum {row} is {whole[row]} at params[{place}]")
        if place == 0:
            alone = np.asarray(losses_of(loss, weights, rest, half), float)
            if not np.allclose(whole[n // 2 :], alone, rtol=1e-3, atol=1e-4 * np.std(whole)):
                raise ValueError(
                    "loss of a datum depends on the others of its batch, or on chance: must not "
                    "(no mean over the batch; module.eval() for batch norm and dropout)"
                )


def _losses(loss: Callable[[Tree, Tree, Tree], Array], *arguments: Tree) -> Array:
    return loss(*arguments)


losses_of = jit_at_first_call(_losses, static_argnums=(0,))


def _check_labels(loss: Any, params: Tree, others: Tree, batch: Tree) -> None:
    outputs_alone = dataclasses.replace(loss, loss=lambda outputs, _: outputs)
    logits = jax.eval_shape(outputs_alone, params, others, batch)
    labels = np.asarray(batch[1])
    classes = logits.shape[1]
    wrong = ~((labels >= 0) & (labels < classes) & (labels == np.floor(labels)))
    if np.any(wrong):
        value = labels[tuple(np.argwhere(wrong)[0])]
        raise ValueError(f"targets hold {value}: must be whole numbers from 0 to {classes - 1}")


def mask_of(mask: Any, params: Tree) -> np.ndarray:
    """Flatten a mask of the weights that are sampled: True or False for each, [D].

    ``mask`` has the structure of the weights or is a prefix of it, with True, False or an array of
    them for each part; None samples all. Raises ValueError for anything else and for one that
    samples nothing.
    """
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    if mask is None:
        return np.ones(size, bool)
    if isinstance(mask, nnx.State):
        mask = nnx.to_pure_dict(mask)
    try:
        whole = jax.tree.broadcast(mask, params)
    except ValueError as error:
        raise ValueError(
            "mask: must have the structure of the weights or be a prefix of it"
        ) from error
    flat = []
    for (path, leaf), part in zip(
        jax.tree.leaves_with_path(params), jax.tree.leaves(whole), strict=True
    ):
        allowed = np.asarray(part)
        if allowed.dtype != bool or allowed.shape not in ((), leaf.shape):
            raise ValueError(
                f"mask{jax.tree_util.keystr(path)} is {allowed.dtype} of shape {allowed.shape}: "
                f"must be True, False or an array of them of shape {leaf.shape}"
            )
        flat.append(np.broadcast_to(allowed, leaf.shape).ravel())
    chosen = np.concatenate(flat)
    if not chosen.any():
        raise ValueError("mask: samples no weight; must be True somewhere")
    return chosen
