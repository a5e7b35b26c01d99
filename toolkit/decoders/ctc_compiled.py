"""CTC prefix beam search in compiled code, one utterance at a time: what runs on a CPU.

The same search as that of `toolkit.decoders.ctc_tensor`, over a tree of prefixes. Per frame, the prefixes in the beam
are looked at once each, and of their extensions only those that can still get among the best: candidates are tried
in descending order, and the first that cannot ends the row. Language models are asked for no others.

All compiled functions stand in this one file, because numba's cache on disk notices changes in the file of the function
that is called, and in no other. Nothing here allocates per frame, and the interpreter's lock is not held.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

from toolkit.compiled import compiled
from toolkit.decoders.ctc_tables import (
    NODE,
    NOWHERE,
    PLACE,
    UNIT,
    Arcs,
    FusionTables,
    Ngram,
    Phrases,
    Pruning,
    Scratch,
    Search,
    Spelling,
)
from toolkit.models.ngram import EOS

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
Records = NDArray[np.void]
Record = np.void


# The same for functions that make no arrays: written out where they are called, as a call would copy all of the forty
# arrays of a search, and without counting references to them, which numba does atomically, for each of them.
inlined = functools.partial(compiled, forceinline=True, _nrt=False)

SPACE = 0  # the character


@inlined()
def logaddexp(a: float, b: float) -> float:
    """log(exp(a) + exp(b))."""
    if a < b:
        a, b = b, a
    if b == -math.inf or a - b > 40.0:  # exp(-40) is less than what a float64 keeps of 1
        return a
    return a + math.log1p(math.exp(b - a))


# The best of many: a heap whose root is the worst that was kept.


@inlined()
def keep(scores: Floats, items: Numbers, size: int, score: float, item: int) -> int:
    """Put an item into a heap that has room (size < len(scores)) or whose root is worse; the new size."""
    if size < len(scores):
        place = size
        while place > 0 and scores[(place - 1) >> 1] > score:
            scores[place], items[place] = scores[(place - 1) >> 1], items[(place - 1) >> 1]
            place = (place - 1) >> 1
        scores[place], items[place] = score, item
        return size + 1
    settle(scores, items, size, score, item)
    return size


@inlined()
def settle(scores: Floats, items: Numbers, size: int, score: float, item: int) -> None:
    """Replace the root, and let the new item sink to its place."""
    place = 0
    while True:
        below = 2 * place + 1
        if below + 1 < size and scores[below + 1] < scores[below]:
            below += 1
        if below >= size or scores[below] >= score:
            break
        scores[place], items[place] = scores[below], items[below]
        place = below
    scores[place], items[place] = score, item


@inlined()
def likely(frame: Floats, row: Floats, token_min_logp: float) -> None:
    """Copy a frame into ``row``, where tokens less likely than that are impossible, unless there is no likelier one."""
    most = frame[0]
    for token in range(1, len(frame)):
        most = max(most, frame[token])
    least = min(most, token_min_logp)
    for token in range(len(frame)):
        row[token] = frame[token] if frame[token] >= least else -math.inf


@inlined()
def best_tokens(row: Floats, scores: Floats, tokens: Numbers) -> int:
    """The tokens that are possible in a frame, best first, blank not among them; their number."""
    size = 0
    for token in range(1, len(row)):
        logp = row[token]
        if logp > -math.inf and (size < len(scores) or logp > scores[0]):
            size = keep(scores, tokens, size, logp, token)
    for left in range(size - 1, 0, -1):  # heap sort: the worst goes last
        logp, token = scores[left], tokens[left]
        scores[left], tokens[left], worst_logp, worst = scores[0], tokens[0], logp, token
        settle(scores, tokens, left, worst_logp, worst)
    return size


# Automata.


@inlined()
def find(arcs: Arcs, state: int, label: int) -> int:
    """The arc of this label, or NOWHERE."""
    low, high = arcs.start[state], arcs.start[state + 1]
    while low < high:
        middle = (low + high) >> 1
        if arcs.label[middle] < label:
            low = middle + 1
        else:
            high = middle
    return low if low < arcs.start[state + 1] and arcs.label[low] == label else NOWHERE


@inlined()
def look_up(ngram: Ngram, state: int, word: int) -> tuple[float, int]:
    """Log-probability of a word after a state of an n-gram, and the state after both."""
    logp = 0.0
    while state != 0:
        arc = find(ngram.arcs, state, word)
        if arc != NOWHERE:
            return logp + ngram.logp[arc], ngram.arcs.next[arc]
        logp += ngram.backoff_logp[state]
        state = ngram.backoff_state[state]
    return logp + ngram.logp[word], ngram.arcs.next[word]


@inlined()
def token_logp(fusion: FusionTables, state: int, token: int) -> float:
    """Log-probability of a token after a state of the token n-gram."""
    if len(fusion.token_rows) > 0:
        return fusion.token_rows[state, token].logp
    return look_up(fusion.tokens, state, fusion.token_ids[token])[0]


@inlined()
def token_next(fusion: FusionTables, state: int, token: int) -> int:
    """The state after both."""
    if len(fusion.token_rows) > 0:
        return fusion.token_rows[state, token].next
    return look_up(fusion.tokens, state, fusion.token_ids[token])[1]


@inlined()
def spell(spelling: Spelling, state: int, letter: int) -> int:
    """The state of the vocabulary's tree after one more letter."""
    if state == NOWHERE or (spelling.follows[state] >> (letter & 63)) & 1 == 0:
        return NOWHERE
    arc = find(spelling.arcs, state, letter)
    return spelling.arcs.next[arc] if arc != NOWHERE else NOWHERE


@inlined()
def listen(phrases: Phrases, state: int, letter: int) -> int:
    """The state of the hotword automaton after one more letter."""
    while True:
        arc = find(phrases.arcs, state, letter)
        if arc != NOWHERE:
            return phrases.arcs.next[arc]
        if state == 0:
            return 0
        state = phrases.fallback[state]


# Fusion: what language models and hotwords add to a prefix.


@inlined()
def stretch(letters: int) -> float:
    """How many times the penalty an unknown word of so many letters pays."""
    return letters / UNIT if letters > UNIT else 1.0


@inlined()
def complete(node: Record, fusion: FusionTables) -> None:
    """Look up, once, what completing the word that a prefix ends in adds, and where it leads."""
    if not math.isnan(node.word_score):
        return
    weights = fusion.weights
    word = fusion.spelling.word[node.spelling] if node.spelling != NOWHERE else NOWHERE
    logp, state = look_up(fusion.words, node.word_state, max(word, 0))
    score = weights.alpha * logp + weights.beta
    if word == NOWHERE:
        score += weights.unknown * (stretch(node.letters) if weights.unknown_by_length else 1.0)
        score += node.spelled
    node.word_score = score
    node.word_next = state


@inlined()
def extend(before: Record, after: Record, token: int, length_bonus: float, fusion: FusionTables) -> float:
    """Fill in ``after``, the prefix ``before`` extended by a token, but for its token state; fusion's score of it."""
    weights, letters = fusion.weights, fusion.letters
    after.settled = before.settled + length_bonus
    after.pending = 0.0
    first, last = letters.start[token], letters.start[token + 1]
    after.letters, after.spelled = before.letters, before.spelled
    after.spelling, after.phrase = before.spelling, before.phrase
    after.word_state = before.word_state
    after.word_score = math.nan

    spoken = 0.0
    if weights.tokens:
        spoken = weights.token_weight * token_logp(fusion, before.token_state, token)
        if not weights.words:
            after.settled += spoken
    if letters.begins_word[token]:
        if before.letters > 0:
            if weights.words:
                complete(before, fusion)
                after.settled += before.word_score
                after.word_state = before.word_next
            if weights.phrases:
                after.phrase = listen(fusion.phrases, after.phrase, SPACE)
                after.settled += fusion.phrases.reward[after.phrase]
        after.letters, after.spelling, after.spelled = 0, 0, 0.0
    after.spelled += spoken
    after.letters += last - first
    for place in range(first, last):
        if weights.words:
            after.spelling = spell(fusion.spelling, after.spelling, letters.label[place])
        if weights.phrases:
            after.phrase = listen(fusion.phrases, after.phrase, letters.label[place])
            after.settled += fusion.phrases.reward[after.phrase]  # of languages without spaces; else 0
    if weights.phrases:
        after.pending += fusion.phrases.promise[after.phrase]
    if weights.words and after.letters > 0:
        after.pending += after.spelled
        if after.spelling == NOWHERE:
            after.pending += weights.unknown_part * stretch(after.letters)
    return after.settled + after.pending


@inlined()
def end(node: Record, fusion: FusionTables) -> float:
    """Fusion's score of a prefix that is the whole transcript."""
    weights = fusion.weights
    score, state = node.settled, node.word_state
    if weights.words:
        if node.letters > 0:
            complete(node, fusion)
            score, state = score + node.word_score, node.word_next
        if weights.boundaries:
            score += weights.alpha * look_up(fusion.words, state, EOS)[0]
    elif weights.tokens and weights.boundaries:
        score += weights.token_weight * look_up(fusion.tokens, node.token_state, EOS)[0]
    if weights.phrases and node.letters > 0:
        score += fusion.phrases.reward[listen(fusion.phrases, node.phrase, SPACE)]
    return score


# The tree of prefixes.


@inlined()
def plant(search: Search, fusion: FusionTables) -> None:
    """The state before the first frame: the empty prefix, certain."""
    root, place, progress = search.nodes[0], search.beam[0], search.progress[0]
    root.parent = root.child = root.sibling = NOWHERE
    root.token = fusion.letters.separator if fusion.weights.words else NOWHERE
    root.slot = root.letters = root.spelling = 0
    root.phrase, root.word_state, root.token_state = fusion.phrases.begin, fusion.words.begin, fusion.tokens.begin
    if fusion.weights.words and fusion.weights.tokens and fusion.letters.separator != NOWHERE:
        # texts begin with a separator, which is no token of the prefix but was one where the n-gram was trained
        root.token_state = look_up(fusion.tokens, root.token_state, fusion.token_ids[fusion.letters.separator])[1]
    root.word_score = math.nan
    root.spelled = root.settled = 0.0
    root.pending = fusion.phrases.promise[root.phrase]
    place.node, place.blank, place.token, place.total = 0, 0.0, -math.inf, 0.0
    progress.nodes = progress.active = 1


@compiled()
def with_room(search: Search) -> Search:
    """The search with room for a frame's prefixes; those that no prefix of the beam begins with are dropped first."""
    nodes, beam, progress = search.nodes, search.beam, search.progress[0]
    numbers, size = renumber(search)
    fresh = np.empty(max(len(nodes), 4 * (size + len(beam))), NODE)
    for old in range(progress.nodes):
        new = numbers[old]
        if new != NOWHERE:
            fresh[new] = nodes[old]
            fresh[new].child = fresh[new].sibling = NOWHERE
            if new > 0:
                hang(fresh, new, numbers[nodes[old].parent])
    for place in range(progress.active):
        beam[place].node = numbers[beam[place].node]
    progress.nodes = size
    return Search(fresh, beam, search.progress)


@compiled()
def renumber(search: Search) -> tuple[Numbers, int]:
    """New numbers, in the old order, of the prefixes that one in the beam begins with, NOWHERE for others; how many."""
    nodes, beam, progress = search.nodes, search.beam, search.progress[0]
    numbers = np.full(progress.nodes, NOWHERE, np.int64)
    for place in range(progress.active):
        node = beam[place].node
        while node != NOWHERE and numbers[node] == NOWHERE:
            numbers[node] = 0
            node = np.int64(nodes[node].parent)
    size = 0
    for node in range(progress.nodes):
        if numbers[node] != NOWHERE:
            numbers[node] = size
            size += 1
    return numbers, size


@inlined()
def hang(nodes: Records, node: int, parent: int) -> None:
    """Make a prefix the first child of another."""
    nodes[node].parent, nodes[node].sibling = parent, nodes[parent].child
    nodes[parent].child = node


@inlined()
def extension(search: Search, parent: int, token: int, length_bonus: float, fusion: FusionTables) -> int:
    """The number of a prefix's extension by a token, which is made if there is none."""
    nodes, progress = search.nodes, search.progress[0]
    node = np.int64(nodes[parent].child)
    while node != NOWHERE:
        if nodes[node].token == token:
            return node
        node = np.int64(nodes[node].sibling)
    node = progress.nodes
    progress.nodes += 1
    nodes[node].token, nodes[node].child = token, NOWHERE
    hang(nodes, node, parent)
    if fused(fusion):
        extend(nodes[parent], nodes[node], token, length_bonus, fusion)
        if fusion.weights.tokens:
            nodes[node].token_state = token_next(fusion, nodes[parent].token_state, token)
    else:
        nodes[node].settled, nodes[node].pending = nodes[parent].settled + length_bonus, 0.0
    return node


@inlined()
def fused(fusion: FusionTables) -> bool:
    """Whether there is anything but CTC and the length bonus."""
    return fusion.weights.words or fusion.weights.tokens or fusion.weights.phrases


# The search.


@compiled()
def feed(frames: Floats, search: Search, pruning: Pruning, fusion: FusionTables) -> Search:
    """Move the search over frames (T, V) of one utterance; the search, whose tree may be in another array now."""
    V, K = frames.shape[1], pruning.beam_size
    C = min(pruning.candidates, V - 1)
    scratch = Scratch(
        np.empty(V),
        np.empty(C, np.int64),
        np.empty(C),
        np.empty(K, PLACE),
        np.empty(K, PLACE),
        np.empty(K),
        np.empty(K, np.int64),
        np.full((K, V), NOWHERE, np.int64),
        np.empty(1, NODE),
    )
    for frame in frames:
        progress = search.progress[0]
        progress.frames += 1
        if frame[0] > pruning.blank_skip_logp:
            progress.skipped += frame[0]
            progress.after_blank = 1
            continue
        if progress.after_blank == 1:
            blank_out(search)
        if search.progress[0].nodes + K > len(search.nodes):
            search = with_room(search)
        row = scratch.row
        likely(frame, row, pruning.token_min_logp)
        stay(row, search, scratch, pruning, fusion)
        go_on(row, search, scratch, pruning, fusion)
        choose(row, search, scratch, pruning, fusion)
    return search


@inlined()
def blank_out(search: Search) -> None:
    """All paths go through a certain blank."""
    progress = search.progress[0]
    progress.after_blank = 0
    for slot in range(progress.active):
        search.beam[slot].blank, search.beam[slot].token = search.beam[slot].total, -math.inf


@inlined()
def stay(row: Floats, search: Search, scratch: Scratch, pruning: Pruning, fusion: FusionTables) -> None:
    """The prefixes of the beam after a frame that adds nothing to them, with the paths of those that they extend."""
    nodes, beam, progress = search.nodes, search.beam, search.progress[0]
    progress.kept, progress.threshold, progress.best = 0, -math.inf, -math.inf
    for slot in range(progress.active):
        place, node, after = beam[slot], nodes[beam[slot].node], scratch.stays[slot]
        after.node, after.blank, after.token = place.node, place.total + row[0], -math.inf
        if node.token != NOWHERE:
            # One space or two are the same text, so paths need no blank between them to stay.
            again = place.total if separates(node.token, fusion) else place.token
            after.token = logaddexp(again, arriving(search, scratch, node)) + row[node.token]
        after.total = logaddexp(after.blank, after.token)
        offer(scratch, progress, pruning, after.total + node.settled + node.pending, slot * len(row))


@inlined()
def separates(token: int, fusion: FusionTables) -> bool:
    """Whether a token is a space of a search that knows words."""
    return fusion.weights.words and token == fusion.letters.separator


@inlined()
def arriving(search: Search, scratch: Scratch, node: Record) -> float:
    """Log-probability of the paths that complete a prefix from its parent, which is then no longer to be extended."""
    if node.parent == NOWHERE:
        return -math.inf
    parent = search.nodes[node.parent]
    if parent.slot == NOWHERE:
        return -math.inf
    scratch.merged[parent.slot, node.token] = search.progress[0].frames
    place = search.beam[parent.slot]
    return place.blank if parent.token == node.token else place.total  # a repeat needs a blank between


@inlined()
def offer(scratch: Scratch, progress: Record, pruning: Pruning, score: float, item: int) -> None:
    """Keep what is better than the threshold, and raise that."""
    if score <= progress.threshold:
        return
    progress.kept = keep(scratch.scores, scratch.items, progress.kept, score, item)
    progress.best = max(progress.best, score)
    progress.threshold = max(progress.threshold, progress.best + pruning.beam_prune_logp)
    if progress.kept == len(scratch.scores):
        progress.threshold = max(progress.threshold, scratch.scores[0])


@inlined()
def go_on(row: Floats, search: Search, scratch: Scratch, pruning: Pruning, fusion: FusionTables) -> None:
    """Try the extensions of each prefix, the best candidates first, as long as they can get among the best."""
    nodes, beam, progress = search.nodes, search.beam, search.progress[0]
    count = best_tokens(row, scratch.token_scores, scratch.tokens)
    for slot in range(progress.active):
        place, node = beam[slot], nodes[beam[slot].node]
        base = place.total + node.settled + pruning.length_bonus
        inside, between = most_gained(node, fusion) if fused(fusion) else (0.0, 0.0)
        reach = base + max(inside, between)
        for candidate in range(count):
            token = scratch.tokens[candidate]
            if reach + row[token] <= progress.threshold:
                break
            if inside != between:
                gained = between if fusion.letters.begins_word[token] else inside
                if base + gained + row[token] <= progress.threshold:
                    continue
            if scratch.merged[slot, token] == progress.frames:
                continue
            if token != node.token:
                score = place.total + row[token]
            elif separates(token, fusion):
                continue
            else:
                score = place.blank + row[token]
            if fused(fusion):
                score += extend(node, scratch.trial[0], token, pruning.length_bonus, fusion)
            else:
                score += node.settled + pruning.length_bonus
            offer(scratch, progress, pruning, score, slot * len(row) + token)


@inlined()
def most_gained(node: Record, fusion: FusionTables) -> tuple[float, float]:
    """What fusion's score of an extension is above ``settled`` at the most: of a token inside a word, and of others."""
    weights = fusion.weights
    inside = between = weights.most
    if weights.words:
        if not math.isnan(node.word_score):
            between += node.word_score
        elif node.letters > 0:
            between += weights.beta
        if node.letters > 0 and node.spelling == NOWHERE:
            inside += weights.unknown_part
    return inside, between


@inlined()
def choose(row: Floats, search: Search, scratch: Scratch, pruning: Pruning, fusion: FusionTables) -> None:
    """Make the best of this frame the beam."""
    nodes, beam, progress = search.nodes, search.beam, search.progress[0]
    for slot in range(progress.active):
        nodes[beam[slot].node].slot = NOWHERE
    active = 0
    for place in range(progress.kept - 1, -1, -1):  # the worst is the first of the heap: better ones are tried earlier
        if scratch.scores[place] < progress.best + pruning.beam_prune_logp:
            continue
        slot, token = divmod(scratch.items[place], len(row))
        chosen = scratch.chosen[active]
        if token == 0:
            stays = scratch.stays[slot]
            chosen.node, chosen.blank, chosen.token, chosen.total = stays.node, stays.blank, stays.token, stays.total
        else:
            before, parent = beam[slot], beam[slot].node
            source = before.blank if nodes[parent].token == token else before.total
            chosen.blank = -math.inf
            chosen.token = chosen.total = source + row[token]
            chosen.node = extension(search, parent, token, pruning.length_bonus, fusion)
        active += 1
    for slot in range(active):
        beam[slot] = scratch.chosen[slot]
        nodes[beam[slot].node].slot = slot
    progress.active = active


# What was found.


@compiled()
def finish(search: Search, fusion: FusionTables) -> tuple[Floats, Floats]:
    """Log-probability under CTC (K,) and whole score (K,) of the prefixes of the beam as transcripts."""
    nodes, beam, progress = search.nodes, search.beam, search.progress[0]
    logps, scores = np.full(progress.active, -math.inf), np.full(progress.active, -math.inf)
    for slot in range(progress.active):
        node, target = nodes[beam[slot].node], slot
        if separates(node.token, fusion) and node.parent != NOWHERE and nodes[node.parent].slot != NOWHERE:
            target = nodes[node.parent].slot  # a space at the end says nothing
        logps[target] = logaddexp(logps[target], beam[slot].total)
    for slot in range(progress.active):
        if logps[slot] > -math.inf:
            node = nodes[beam[slot].node]
            score = end(node, fusion) if fused(fusion) else node.settled
            logps[slot] += progress.skipped
            scores[slot] = logps[slot] + score
    return logps, scores


@compiled()
def tokens_of(nodes: Records, node: int) -> Numbers:
    """The tokens of a prefix."""
    length, above = 0, node
    while nodes[above].parent != NOWHERE:
        length, above = length + 1, np.int64(nodes[above].parent)
    tokens = np.empty(length, np.int64)
    while length > 0:
        length -= 1
        tokens[length] = nodes[node].token
        node = np.int64(nodes[node].parent)
    return tokens


@inlined()
def shared(search: Search) -> int:
    """The longest prefix that all of the beam begin with: nothing to come can change it."""
    nodes, beam = search.nodes, search.beam
    node = beam[0].node
    for slot in range(1, search.progress[0].active):
        other = beam[slot].node
        while node != other:  # children have higher numbers than their parents
            if node > other:
                node = np.int64(nodes[node].parent)
            else:
                other = np.int64(nodes[other].parent)
    return node
