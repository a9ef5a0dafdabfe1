/** The budget that gives a mixture's expert pool a wanted number of slots. */
import { type LoadOptions, planModel } from '../../ts/engine/index.js'

/** Bytes: a model loaded with them and `options` keeps `slots` experts. Throws where no budget gives just so many. */
export async function memoryForSlots(path: string, slots: number, options: LoadOptions): Promise<number> {
  const slotsWith = async (memory: number): Promise<number> => {
    try {
      return (await planModel(path, { ...options, memory })).regions.poolSlots
    } catch {
      return 0 // below the floor
    }
  }
  let least = 0
  let most = 2 ** 40
  while (most - least > 4096) {
    const middle = Math.floor((least + most) / 2)
    if ((await slotsWith(middle)) >= slots) most = middle
    else least = middle
  }
  const found = await slotsWith(most)
  if (found !== slots) throw new Error(`no budget gives ${slots} slots: ${most} bytes give ${found}`)
  return most
}
