/**
 * Another program that wants the drive: reads a file past the page cache, as the engine does, until it is stopped.
 *
 *   node dist/bench/competing-reader.js FILE [--seconds 600]
 *
 * Start it beside `hypura bench`, on another file of the same drive: the bandwidth that the bench measures is then what the
 * competitor leaves.
 */
import { parseArgs } from 'node:util'
import { measureReads } from '../ts/engine/index.js'

const { positionals, values } = parseArgs({ allowPositionals: true, options: { seconds: { type: 'string', default: '600' } } })
const path = positionals[0]
if (path === undefined) throw new Error('usage: competing-reader.js FILE [--seconds N]')
const end = performance.now() + Number(values.seconds) * 1000
let bytes = 0
for (let seed = 0; performance.now() < end; seed++) bytes += (await measureReads(path, { seconds: 1, seed })).bytes
process.stdout.write(`${(bytes / 1e9).toFixed(1)} GB read beside others\n`)
