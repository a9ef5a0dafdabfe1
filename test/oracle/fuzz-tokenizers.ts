/**
 * Compares our tokenizers with llama.cpp (through node-llama-cpp) on random texts: ids must be equal, one by one.
 *
 * Run: node dist/test/oracle/fuzz-tokenizers.js [--texts 100000] [--seed 1] [--control] [--pre NAME ...] FILE.gguf ...
 * With --pre, each file is tested once per name, as a copy whose tokenizer.ggml.pre is that name ("all": every known one).
 * With --control, control tokens in the text are parsed (parse_special).
 * node-llama-cpp is looked for under HYPURA_ORACLE, else in test/oracle; without it the script ends with status 2.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { openGguf } from '../../ts/gguf/parse.js'
import { preTokenizers } from '../../ts/tokenizer/pre-tokenizers.js'
import { createTokenizer, type Tokenizer } from '../../ts/tokenizer/tokenizer.js'
import { createRandom, randomText } from './random-text.js'

interface PeerModel {
  tokenize(text: string, specialTokens: boolean): readonly number[]
  dispose(): Promise<void>
}

interface Peer {
  getLlama(options: { logLevel: string; gpu: boolean }): Promise<{
    loadModel(options: { modelPath: string; vocabOnly: boolean }): Promise<PeerModel>
  }>
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    texts: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
    control: { type: 'boolean', default: false },
    pre: { type: 'string', multiple: true, default: [] },
  },
})

const folder = process.env['HYPURA_ORACLE'] ?? fileURLToPath(new URL('../../../test/oracle/', import.meta.url))
const entry = join(folder, 'node_modules/node-llama-cpp/dist/index.js')
if (!existsSync(entry)) {
  console.error(`node-llama-cpp is not installed under ${folder}; set HYPURA_ORACLE to the folder that has it.`)
  process.exit(2)
}
const peer = (await import(pathToFileURL(entry).href)) as Peer
const llama = await peer.getLlama({ logLevel: 'disabled', gpu: false })
const scratch = mkdtempSync(join(tmpdir(), 'hypura-fuzz-'))
let differing = 0
try {
  for (const file of positionals) {
    const names = values.pre.includes('all') ? [...preTokenizers.keys()].filter((name) => name !== 'gemma4') : values.pre
    if (names.length === 0) differing += await compare(file, basename(file))
    for (const name of names) {
      const copy = join(scratch, `${name.replaceAll('/', '_')}.gguf`)
      writeFileSync(copy, withPre(readFileSync(file), name))
      differing += await compare(copy, `${basename(file)} as ${name}`)
      rmSync(copy)
    }
  }
} finally {
  rmSync(scratch, { recursive: true })
}
process.exit(differing === 0 ? 0 : 1)

async function compare(path: string, title: string): Promise<number> {
  const { metadata } = await openGguf(path)
  const tokenizer = createTokenizer(metadata)
  const model = await llama.loadModel({ modelPath: path, vocabOnly: true })
  const random = createRandom(Number(values.seed))
  const specials = specialTexts(tokenizer)
  const count = Number(values.texts)
  let different = 0
  for (let i = 0; i < count; i++) {
    const text = randomText(random, specials)
    const ours = tokenizer.encode(text, { parseSpecial: values.control }).join(' ')
    const theirs = model.tokenize(text, values.control).join(' ')
    if (ours === theirs) continue
    if (++different <= 3) console.log(`  ${JSON.stringify(text)}\n    ours   ${ours}\n    theirs ${theirs}`)
  }
  console.log(`${title}: ${count} texts, ${different} differ`)
  await model.dispose()
  return different
}

/** Texts of control tokens and of byte tokens: the ones that plain text must not turn into. */
function specialTexts(tokenizer: Tokenizer): string[] {
  const texts = ['<0x0A>', '<0x41>', '<s>', '</s>', '<|im_end|>', '<|endoftext|>']
  for (let id = 0; id < tokenizer.nVocab && texts.length < 64; id++) if (tokenizer.isControl(id)) texts.push(tokenizer.tokenText(id))
  return texts
}

/** The same file with another tokenizer.ggml.pre. For files without tensors: nothing behind the metadata moves. */
function withPre(file: Buffer, name: string): Buffer {
  const key = Buffer.from('tokenizer.ggml.pre')
  const at = file.indexOf(key)
  if (at < 0) throw new Error('the file has no tokenizer.ggml.pre')
  const value = at + key.length + 4
  const length = Number(file.readBigUInt64LE(value))
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(BigInt(Buffer.byteLength(name)))
  return Buffer.concat([file.subarray(0, value), prefix, Buffer.from(name), file.subarray(value + 8 + length)])
}
