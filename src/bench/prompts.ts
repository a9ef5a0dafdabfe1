/**
 * Prompts of any length out of one built-in text, each from another place: repeating a prompt would flatter an expert cache.
 *
 * The text is our own, of several kinds (plain telling, instructions, a list, dialogue, program text), so that a router
 * meets more than one subject.
 */
import type { Tokenizer } from '../../ts/engine/index.js'

const text = `The harbour wakes before the town does. Ropes creak, a gull complains, and somebody on the second pier is already
hammering at a plate that will not sit flat. By six the ice is broken up and shovelled into crates; by half past, the first van
has left for the market with its doors tied shut. Nobody here says much before breakfast, and what is said concerns the wind.

To change the filter, close the valve below the tank and wait until the needle stands at zero. Loosen the ring by hand; a wrench
will crack it. Pull the cartridge straight up, let it drip for a minute, and look at the seal: if it is flat or torn, replace it
as well. Rinse the housing, set the new cartridge in place, and turn the ring until it stops. Open the valve a quarter turn first.

"You said Thursday," Ines began, and put the folder on the table between them. "I said Thursday if the samples arrived," answered
Oren. "They came yesterday, in the rain, with two labels missing." She turned the pages without reading them. "Then which ones do
we trust?" He shrugged. "The ones that disagree with us. The others tell us nothing we did not hope for already."

A function that counts words needs three decisions before it needs a loop. What separates words: blanks only, or also dashes and
quotes? Are "Tree" and "tree" one word or two? And what is done with a line that ends in the middle of one? for (const line of
lines) { const words = line.toLowerCase().split(' ').filter((word) => word !== ''); for (const word of words) counts.set(word,
(counts.get(word) ?? 0) + 1) } The loop is the easy part; the answers above it decide whether two people get the same number.

Most of the snow that falls on the plateau in winter leaves it again in nine days of May. The rivers rise at night, because the
warmth of the afternoon takes eight hours to come down the valley. Engineers who built the first bridge measured at noon, found
the water low, and lost the bridge in its second spring. The present one stands on piers that were drawn by a shepherd's daughter,
who had kept a notched stick beside the ford since she was seven.

Four things were found in the attic: a box of keys without labels, a map of a railway that was never laid, eleven letters in
one hand and a single reply in another, and a clock that ran backwards when wound. The keys opened nothing. The map had been paid
for. The letters asked, in different words, the same question eleven times; the reply was dated a week before the first of them.

If a train leaves at ten past nine and covers 84 kilometres in the first hour, 91 in the second and 63 in the third, it has gone
238 kilometres by ten past twelve, at an average of a little over 79. The average of the three speeds is the same only because the
three stretches took equally long. Had they been equally far instead, the slow one would have counted for more, as it does in life.

Bread dough is ready when a finger leaves a dent that fills slowly. Too fast, and it wants another half hour; not at all, and it
has gone over. Salt slows the yeast, sugar feeds it, and cold merely makes it wait. Bakers who work at night keep one bowl in the
cellar and one by the oven, so that a late order meets dough of some age or other. The oldest bowl is never emptied: a handful
stays behind and is fed again, and in this way the loaf on the table has relatives that were eaten a hundred years ago.

Dear colleagues, the meeting moves from the large room to the small one, which has a window. Please bring last month's figures in
whatever state they are. We shall first agree on what we count, then count it, and only then speak about what it means; those who
would rather do it in the opposite order may join us for coffee afterwards. The lift is being repaired until Friday.

The committee asked whether a machine could be said to forget. One member held that erasing is an act and forgetting is none;
another, that whatever is written over was not worth keeping; a third wanted to know who had chosen what to write. They adjourned
without a vote. In the minutes, which the machine kept, the discussion takes up a single line, and the line is in the passive.
`

/** Tokens from which the first prompt begins, and how far apart prompts begin: coprime to most lengths of the text. */
const stride = 331

export interface Prompts {
  /** `length` tokens of prompt number `index`, with the model's begin token where it wants one. */
  tokens(index: number, length: number): number[]
}

/** @param seed shifts where the prompts begin */
export function builtInPrompts(tokenizer: Tokenizer, seed: number): Prompts {
  const all = tokenizer.encode(text.replace(/(?<!\n)\n(?!\n)/g, ' '))
  const begin = tokenizer.addBos && tokenizer.bos !== undefined ? [tokenizer.bos] : []
  return {
    tokens: (index, length) => {
      const first = ((seed % all.length) + index * stride) % all.length
      const words = Array.from({ length: Math.max(0, length - begin.length) }, (_, i) => all[(first + i) % all.length]!)
      return [...begin, ...words].slice(0, length)
    },
  }
}
