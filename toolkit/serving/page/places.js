// Places in a text and places in the document: an edited element may hold several text nodes, and line breaks.

/** The text of an element. */
export const textOf = (element) => nodes(element).map(([, text]) => text).join("");

/** Where in the element's text a place of the document is. */
export function placeOf(element, container, offset) {
  const before = new Range();
  before.setStart(element, 0);
  before.setEnd(container, offset);
  let place = 0;
  for (const [node, text] of nodes(element)) {
    if (node === container) return place + offset;
    if (before.comparePoint(node, 0) > 0) break;
    place += text.length;
  }
  return place;
}

/** Where the caret is, or the end of the selection; -1 where it is not in the element. */
export function caretOf(element) {
  const { focusNode, focusOffset } = getSelection();
  return element.contains(focusNode) ? placeOf(element, focusNode, focusOffset) : -1;
}

/** The place of the document under a point of the screen: its node, or null, and the offset there. */
export function spotUnder(x, y) {
  if (document.caretPositionFromPoint) {
    const spot = document.caretPositionFromPoint(x, y);
    return [spot?.offsetNode ?? null, spot?.offset];
  }
  const range = document.caretRangeFromPoint(x, y); // Safari
  return [range?.startContainer ?? null, range?.startOffset];
}

/** The range of the document from one place in the element's text to another. */
export function rangeOf(element, start, end) {
  const range = new Range();
  range.selectNodeContents(element);
  let place = 0;
  for (const [node, { length }] of nodes(element)) {
    const holds = (at) => node.nodeType === Node.TEXT_NODE && at >= place && at <= place + length;
    if (holds(start)) range.setStart(node, start - place);
    if (holds(end)) range.setEnd(node, end - place);
    place += length;
  }
  return range;
}

/** Text nodes and line breaks in their order, `[node, text]`. */
function nodes(element) {
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
  const found = [];
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (node.nodeType === Node.TEXT_NODE) found.push([node, node.data]);
    else if (node.nodeName === "BR") found.push([node, "\n"]);
  }
  return found;
}
