// What could break: a wrong value, a call in the wrong state, a detached buffer, a callback that throws or an environment
// that ends crashes the host program instead of giving a typed error. How we notice: each function of the addon is called
// with each kind of wrong value in each state, in this process and in workers and children that end in mid-token; a crash
// ends the test process, and afterwards the same engine must still give the same tokens.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { encodeLoad, encodeSpec } from '../engine/codec/load.js'
import { describeModel } from '../engine/model-description.js'
import { planDescribed } from '../engine/plan-model.js'
import { counterCount, counterIndex, layout } from './layout.gen.js'
import { loadBinding } from './load-binding.js'
import type { GenerateRequest, NativeBinding, NativeErrorInfo, NativeSequence } from './native-binding.js'

const modelPath = join(import.meta.dirname, '../../../models/fable-dense-q4_0.gguf')
const engineOptions = { threads: 2, io: 'auto', ioDepth: 0 } as const
const folder = mkdtempSync(join(tmpdir(), 'hypura-misuse-'))
const binding: NativeBinding = loadBinding()
let load: ArrayBuffer
let spec: ArrayBuffer

beforeAll(async () => {
  const description = await describeModel(modelPath)
  const plan = planDescribed(description, { memory: '64MiB', contextLength: 512, threads: 2, sequencesMax: 4 })
  load = encodeLoad(description.manifest, description.manifest.spec, description.gguf.files, plan.regions)
  spec = encodeSpec(description.manifest.spec)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const request = (changes: Partial<GenerateRequest> = {}): GenerateRequest => ({
  tokens: Uint32Array.of(1, 2, 3),
  maxTokens: 4,
  stopTokens: new Uint32Array(0),
  sampling: { temperature: 0, topK: 0, topP: 1, minP: 0, repeatPenalty: 1, repeatLastN: 0, frequencyPenalty: 0, presencePenalty: 0, seed: 0 },
  logits: 'none',
  pendingTokensMax: 32,
  ...changes,
})

/** What `call` throws, which must be an addon's error. */
function errorOf(call: () => unknown): NativeErrorInfo {
  try {
    call()
  } catch (error) {
    const info = error as NativeErrorInfo
    expect(typeof info.nativeCode, String(error)).toBe('string')
    expect(typeof info.errno).toBe('number')
    expect(typeof info.file).toBe('number')
    expect(typeof info.offset).toBe('number')
    return info
  }
  throw new Error(`accepted: ${call}`)
}

async function generate(sequence: NativeSequence, changes: Partial<GenerateRequest> = {}): Promise<number[]> {
  const tokens: number[] = []
  const records = new Uint32Array(4 * 8)
  const drain = (): void => {
    for (let n = sequence.drainTokens(records); n > 0; n = sequence.drainTokens(records)) {
      for (let i = 0; i < n; i++) tokens.push(records[i * 4]!)
    }
  }
  await new Promise<void>((resolve) => {
    sequence.start(request(changes), () => {
      const { phase } = sequence.state()
      drain()
      if (phase === 'done') resolve()
    })
  })
  return tokens
}

function detached(): ArrayBuffer {
  return detachedView().buffer
}

function detachedView(): Uint32Array<ArrayBuffer> {
  const view = new Uint32Array(1024)
  structuredClone(view.buffer, { transfer: [view.buffer] })
  return view
}

function detachedFloats(): Float64Array {
  const view = new Float64Array(8)
  structuredClone(view.buffer, { transfer: [view.buffer] })
  return view
}

const wrongNumbers = [NaN, Infinity, -1, 1.5, 2 ** 53, '1', null, undefined, {}, 1n, Symbol('x')]
const wrongBuffers = [undefined, null, 5, 'x', {}, [], new Uint8Array(8), new DataView(new ArrayBuffer(8)), new SharedArrayBuffer(64)]

test('createEngine refuses every wrong value and every broken message', () => {
  const create = binding.createEngine as (...values: unknown[]) => unknown
  for (const value of wrongBuffers) expect(errorOf(() => create(value, engineOptions)).nativeCode).toBe('invalid-argument')
  expect(errorOf(() => create(detached(), engineOptions)).nativeCode).toBe('invalid-argument')
  expect(errorOf(() => create(new ArrayBuffer(0), engineOptions)).nativeCode).toBe('bad-load')
  const cut = errorOf(() => create(load.slice(0, load.byteLength - 16), engineOptions))
  expect(cut.nativeCode).toBe('bad-load')
  expect(cut.offset).toBeGreaterThanOrEqual(0)
  for (const value of [undefined, null, 7, 'x']) expect(errorOf(() => create(load, value)).nativeCode).toBe('invalid-argument')
  for (const value of wrongNumbers) {
    expect(errorOf(() => create(load, { ...engineOptions, threads: value })).nativeCode).toBe('invalid-argument')
    expect(errorOf(() => create(load, { ...engineOptions, ioDepth: value })).nativeCode).toBe('invalid-argument')
  }
  for (const io of ['fast', '', 3, null]) expect(errorOf(() => create(load, { ...engineOptions, io })).nativeCode).toBe('invalid-argument')
  for (const plan of [null, 7, 'x', detached()]) expect(errorOf(() => create(load, { ...engineOptions, plan })).nativeCode).toBe('invalid-argument')
  for (const bytes of [1, 63, 64, 4096]) expect(errorOf(() => create(load, { ...engineOptions, plan: new ArrayBuffer(bytes) })).nativeCode).toBe('bad-plan')
})

test('a getter that detaches the message in mid-call is met with an error', () => {
  const copy = load.slice(0)
  const options = { ...engineOptions, get threads() { structuredClone(copy, { transfer: [copy] }); return 2 } }
  expect(errorOf(() => binding.createEngine(copy, options)).message).toContain('detached')
  const thrown = new Error('from the getter')
  expect(() => binding.createEngine(load, { ...engineOptions, get threads(): number { throw thrown } })).toThrow(thrown)
})

test('measure and probe refuse wrong values', () => {
  const options = { batchPositions: 32, logitsRows: 1, threads: 2, contextLength: 512, sequences: 1, keyType: 0, valueType: 0 }
  expect(binding.measure(spec, options).kvBytes).toBeGreaterThan(0)
  for (const value of [...wrongBuffers, spec.slice(4), detached()]) {
    expect(errorOf(() => binding.measure(value as ArrayBuffer, options)).nativeCode).toBe('invalid-argument')
  }
  for (const key of Object.keys(options)) {
    for (const value of wrongNumbers) {
      expect(errorOf(() => binding.measure(spec, { ...options, [key]: value })).nativeCode, key).toBe('invalid-argument')
    }
  }
  for (const key of ['keyType', 'valueType']) expect(errorOf(() => binding.measure(spec, { ...options, [key]: 2 })).nativeCode, key).toBe('invalid-argument')
  expect(errorOf(() => binding.measure(new ArrayBuffer(layout.ModelSpec.size), options)).nativeCode).toBe('invalid-argument')
  for (const value of [null, 5, {}]) expect(errorOf(() => binding.probe(value as never)).nativeCode).toBe('invalid-argument')
  expect(binding.probe('/nowhere/at/all').direct?.available).toBe(false)
})

const measureOptions = { backend: 'auto', direct: true, blockBytes: 4096, depth: 4, timeMs: 50, bytesMax: 2 ** 20 } as const

test('measureReads refuses wrong values, can be cancelled at any time, and settles', async () => {
  const measure = binding.measureReads as (...values: unknown[]) => ReturnType<typeof binding.measureReads>
  const offsets = Float64Array.of(0, 4096, 8192)
  expect(await binding.measureReads(modelPath, offsets, measureOptions).done).toMatchObject({ blocks: 3, bytes: 12288 })
  for (const value of [undefined, null, 5, {}]) expect(errorOf(() => measure(value, offsets, measureOptions)).nativeCode).toBe('invalid-argument')
  for (const value of [...wrongBuffers, [0], new Uint32Array(4), new Float64Array(0), new Float64Array(2 ** 20 + 1), new Float64Array(new SharedArrayBuffer(64)), detachedFloats(), Float64Array.of(NaN), Float64Array.of(-1), Float64Array.of(0.5), Float64Array.of(Infinity)]) {
    expect(errorOf(() => measure(modelPath, value, measureOptions)).nativeCode).toBe('invalid-argument')
  }
  for (const value of [undefined, null, 7, 'x']) expect(errorOf(() => measure(modelPath, offsets, value)).nativeCode).toBe('invalid-argument')
  for (const key of ['blockBytes', 'depth', 'timeMs', 'bytesMax']) {
    for (const value of wrongNumbers.filter((one) => key !== 'bytesMax' || one !== 2 ** 53)) expect(errorOf(() => measure(modelPath, offsets, { ...measureOptions, [key]: value })).nativeCode, key).toBe('invalid-argument')
  }
  for (const value of ['fast', 3, null]) expect(errorOf(() => measure(modelPath, offsets, { ...measureOptions, backend: value })).nativeCode).toBe('invalid-argument')
  for (const value of ['true', 1, null, undefined]) expect(errorOf(() => measure(modelPath, offsets, { ...measureOptions, direct: value })).nativeCode).toBe('invalid-argument')
  const going = offsets.slice()
  expect(errorOf(() => measure(modelPath, going, { ...measureOptions, get depth() { structuredClone(going.buffer, { transfer: [going.buffer] }); return 1 } })).message).toContain('detached')

  // What only the file can tell comes through the promise.
  await expect(measure(modelPath, Float64Array.of(1), measureOptions).done).rejects.toMatchObject({ nativeCode: 'invalid-argument', offset: 1 })
  await expect(measure(modelPath, Float64Array.of(2 ** 52), measureOptions).done).rejects.toMatchObject({ nativeCode: 'model-changed' })
  await expect(measure('/nowhere/at/all', offsets, measureOptions).done).rejects.toMatchObject({ nativeCode: 'io', errno: 2 })
  await expect(measure(folder, offsets, measureOptions).done).rejects.toMatchObject({ nativeCode: 'invalid-argument' })
  await expect(measure(`${modelPath}\0`, offsets, measureOptions).done).rejects.toMatchObject({ nativeCode: 'invalid-argument' })

  const all = Float64Array.from({ length: 200 }, (_, i) => i * 4096)
  for (const delay of [0, 1, 5, 20]) {
    const running = binding.measureReads(modelPath, all, measureOptions)
    const ended = running.done.then(() => 'read', (error: NativeErrorInfo) => error.nativeCode)
    if (delay > 0) await new Promise((resolve) => setTimeout(resolve, delay))
    running.cancel()
    Reflect.apply(running.cancel, {}, [])
    expect(['read', 'cancelled']).toContain(await ended)
    running.cancel()
  }
  expect(await Promise.all(Array.from({ length: 4 }, () => binding.measureReads(modelPath, offsets, measureOptions).done))).toHaveLength(4)
})

test('functions of engine and sequence refuse wrong values, also without a receiver, and go on working', async () => {
  const engine = binding.createEngine(load, engineOptions)
  await engine.opened()
  const sequence = engine.createSequence()
  const expected = await generate(sequence)
  expect(expected).toHaveLength(4)

  for (const value of [...wrongBuffers, detached(), new ArrayBuffer(0), new ArrayBuffer(64)]) {
    expect(['invalid-argument', 'bad-plan']).toContain(errorOf(() => engine.submitPlan(value as ArrayBuffer)).nativeCode)
  }
  for (const value of [undefined, 5, new Float32Array(8), new Int32Array(8), new Uint32Array(new SharedArrayBuffer(64)), detachedView(), new ArrayBuffer(8)]) {
    expect(errorOf(() => engine.drainEvents(value as Uint32Array)).nativeCode).toBe('invalid-argument')
    expect(errorOf(() => engine.counters(value as never)).nativeCode).toBe('invalid-argument')
    expect(errorOf(() => sequence.drainTokens(value as Uint32Array)).nativeCode).toBe('invalid-argument')
    expect(errorOf(() => sequence.drainLogits(value as never)).nativeCode).toBe('invalid-argument')
  }
  expect(errorOf(() => engine.counters(new Float64Array(counterCount - 1))).nativeCode).toBe('invalid-argument')
  expect(engine.drainEvents(new Uint32Array(7))).toBe(0)
  // A view that begins in the middle of a record's alignment.
  expect(engine.drainEvents(new Uint32Array(new ArrayBuffer(4 + 64), 4, 16))).toBeGreaterThanOrEqual(0)
  for (const key of ['tokens', 'stopTokens'] as const) {
    for (const value of [undefined, [1], new Float32Array(2), detachedView()]) {
      expect(errorOf(() => sequence.start(request({ [key]: value }), () => {})).nativeCode, key).toBe('invalid-argument')
    }
  }
  for (const key of ['maxTokens', 'pendingTokensMax']) {
    for (const value of wrongNumbers) expect(errorOf(() => sequence.start(request({ [key]: value }), () => {})).nativeCode, key).toBe('invalid-argument')
  }
  for (const key of Object.keys(request().sampling)) {
    for (const value of ['1', null, undefined, NaN]) {
      expect(errorOf(() => sequence.start(request({ sampling: { ...request().sampling, [key]: value } }), () => {})).nativeCode, key).toBe('invalid-argument')
    }
  }
  expect(errorOf(() => sequence.start(request(), 5 as never)).nativeCode).toBe('invalid-argument')
  expect(errorOf(() => sequence.start(request({ tokens: Uint32Array.of(2 ** 31) }), () => {})).nativeCode).toBe('invalid-argument')
  expect(errorOf(() => sequence.start(request({ tokens: new Uint32Array(5000) }), () => {})).nativeCode).toBe('context-overflow')
  for (const value of wrongNumbers) expect(errorOf(() => sequence.truncate(value as number)).nativeCode).toBe('invalid-argument')

  // Another object as receiver changes nothing: the functions do not use it.
  const { state } = sequence
  expect(state.call(engine as never).phase).toBe('done')
  expect(Reflect.apply(sequence.truncate, {}, [0])).toBeUndefined()
  expect(await generate(sequence)).toEqual(expected)
  await engine.close()
})

test('resize refuses wrong values and divisions that were not loaded, and settles in every state', async () => {
  const engine = binding.createEngine(load, engineOptions)
  await engine.opened()
  const sequence = engine.createSequence()
  const expected = await generate(sequence)
  const row = new Float64Array(counterCount)
  const ringBytes = 1 << 20
  const small = { budgetBytes: 40 * 2 ** 20, pinCount: 3, poolSlots: 0, ringBytes }
  for (const value of [undefined, null, 5, 'x']) expect(errorOf(() => engine.resize(value as never)).nativeCode).toBe('invalid-argument')
  for (const key of Object.keys(small)) {
    for (const value of wrongNumbers) expect(errorOf(() => engine.resize({ ...small, [key]: value } as never)).nativeCode, key).toBe('invalid-argument')
  }
  for (const wrong of [{ budgetBytes: 4096 }, { budgetBytes: 2 ** 40 }, { pinCount: 100_000 }, { poolSlots: 5 }, { ringBytes: 4096 }, { ringBytes: ringBytes + 1 }, { ringBytes: 2 ** 52 }]) {
    await expect(engine.resize({ ...small, ...wrong }), JSON.stringify(wrong)).rejects.toMatchObject({ nativeCode: 'invalid-argument' })
  }
  await engine.resize(small)
  engine.counters(row)
  expect(row[counterIndex.placedBytes]).toBeLessThanOrEqual(row[counterIndex.budgetBytes]!)
  sequence.truncate(0)
  expect(await generate(sequence)).toEqual(expected)

  const thrown = new Error('from the getter')
  expect(() => engine.resize({ ...small, get pinCount(): number { throw thrown } })).toThrow(thrown)
  const closing = { ...small, get pinCount(): number { void engine.close(); return 3 } }
  expect(errorOf(() => engine.resize(closing)).nativeCode).toBe('closed')
  expect(errorOf(() => engine.resize(small)).nativeCode).toBe('closed')

  for (const delay of [0, 1, 5, 20]) {
    const other = binding.createEngine(load, engineOptions)
    const outcome = other.resize(small).then(() => 'done', (error: NativeErrorInfo) => error.nativeCode)
    const next = other.resize({ ...small, pinCount: 2 }).then(() => 'done', (error: NativeErrorInfo) => error.nativeCode)
    await new Promise(resolve => setTimeout(resolve, delay))
    await other.close()
    for (const one of [outcome, next]) expect(['done', 'closed', 'cancelled']).toContain(await one)
  }
})

test('watchPressure says what is missing', () => {
  for (const value of [undefined, 5, {}]) expect(errorOf(() => binding.watchPressure(value as never)).nativeCode).toBe('invalid-argument')
  expect(errorOf(() => binding.watchPressure('/nowhere/at/all')).nativeCode).toBe('unsupported')
  expect(errorOf(() => binding.watchPressure(folder)).nativeCode).toBe('unsupported')
})

test('calls in the wrong state are typed errors', async () => {
  const engine = binding.createEngine(load, engineOptions)
  const sequence = engine.createSequence() // while loading
  sequence.start(request({ tokens: new Uint32Array(400), maxTokens: 50 }), () => {})
  expect(errorOf(() => sequence.start(request(), () => {})).nativeCode).toBe('busy')
  expect(errorOf(() => sequence.truncate(0)).nativeCode).toBe('busy')
  const others = [engine.createSequence(), engine.createSequence(), engine.createSequence()]
  expect(errorOf(() => engine.createSequence()).nativeCode).toBe('invalid-argument')
  await Promise.all([sequence.close(), sequence.close(), ...others.map(other => other.close())])
  expect(sequence.state().finishReason).toBe('cancelled')
  expect(errorOf(() => sequence.start(request(), () => {})).nativeCode).toBe('closed')
  expect(errorOf(() => sequence.truncate(0)).nativeCode).toBe('closed')
  expect(sequence.drainTokens(new Uint32Array(8))).toBe(0)
  sequence.cancel()

  const late = engine.createSequence()
  await Promise.all([engine.close(), engine.close()])
  await engine.close()
  expect(errorOf(() => late.start(request(), () => {})).nativeCode).toBe('closed')
  expect(late.drainTokens(new Uint32Array(8))).toBe(0)
  expect(late.state().phase).toBe('idle')
  await late.close()
  for (const call of [() => engine.opened(), () => engine.createSequence(), () => engine.submitPlan(new ArrayBuffer(0)), () => engine.drainEvents(new Uint32Array(8)), () => engine.counters(new Float64Array(counterCount)), () => engine.readBlocks(new Uint32Array(1), new ArrayBuffer(1))]) {
    expect(errorOf(call).nativeCode).toBe('closed')
  }
})

test('closing at any time settles every promise', async () => {
  for (const delay of [0, 1, 5, 20]) {
    const engine = binding.createEngine(load, engineOptions)
    const opened = engine.opened().then(() => 'opened', (error: NativeErrorInfo) => error.nativeCode)
    const sequence = engine.createSequence()
    sequence.start(request({ tokens: new Uint32Array(400), maxTokens: 100 }), () => {})
    const read = engine.readBlocks(Uint32Array.of(0), new ArrayBuffer(1 << 20)).then(() => 'read', (error: NativeErrorInfo) => error.nativeCode)
    await new Promise(resolve => setTimeout(resolve, delay))
    await engine.close()
    expect(['opened', 'cancelled']).toContain(await opened)
    expect(['read', 'closed', 'cancelled']).toContain(await read)
    expect(sequence.state().finishReason).toBe('cancelled')
  }
})

test('readBlocks copies whole blocks, and says so when the buffer went away', async () => {
  const engine = binding.createEngine(load, engineOptions)
  await engine.opened()
  const into = new ArrayBuffer(1 << 20)
  await engine.readBlocks(Uint32Array.of(0, 1), into)
  expect(new Uint8Array(into).some(byte => byte !== 0)).toBe(true)
  expect(errorOf(() => engine.readBlocks(Uint32Array.of(0), new ArrayBuffer(1))).nativeCode).toBe('invalid-argument')
  expect(errorOf(() => engine.readBlocks(Uint32Array.of(2 ** 32 - 1), into)).nativeCode).toBe('invalid-argument')
  const leaving = engine.readBlocks(Uint32Array.of(0), into)
  structuredClone(into, { transfer: [into] })
  await expect(leaving).rejects.toMatchObject({ nativeCode: 'invalid-argument' })
  await engine.close()
})

/** A program that loads the addon and the message by themselves; `body` sees `engine` and `sequence`. */
function program(name: string, body: string): string {
  const path = join(folder, `${name}.mjs`)
  writeFileSync(join(folder, 'load.bin'), new Uint8Array(load))
  writeFileSync(path, `
    import { readFileSync } from 'node:fs'
    import { loadBinding } from ${JSON.stringify(new URL('./load-binding.js', import.meta.url).href)}
    const bytes = readFileSync(${JSON.stringify(join(folder, 'load.bin'))})
    const load = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)
    const engine = loadBinding().createEngine(load, ${JSON.stringify(engineOptions)})
    const sequence = engine.createSequence()
    const request = { tokens: new Uint32Array(300), maxTokens: 200, stopTokens: new Uint32Array(0), logits: 'none', pendingTokensMax: 4096,
      sampling: ${JSON.stringify(request().sampling)} }
    ${body}
  `)
  return path
}

test('a process that exits in mid-token ends with its own code', () => {
  for (const delay of [0, 2, 10, 40]) {
    const path = program(`exit-${delay}`, `
      sequence.start(request, () => {})
      setTimeout(() => process.exit(7), ${delay})
    `)
    let code = 0
    try {
      execFileSync(process.execPath, [path])
    } catch (error) {
      code = (error as { status: number }).status
    }
    expect(code).toBe(7)
  }
})

test('a process whose work is done ends by itself, with engine and sequence left open', () => {
  const path = program('left-open', `
    await engine.opened()
    sequence.start({ ...request, tokens: Uint32Array.of(1), maxTokens: 2 }, () => {
      if (sequence.state().phase === 'done') console.log('done')
    })
  `)
  expect(execFileSync(process.execPath, [path], { encoding: 'utf8', timeout: 30_000 })).toBe('done\n')
})

test('an error thrown by onWake is an uncaught exception of the host, and no crash', () => {
  const path = program('throwing', `
    process.on('uncaughtException', error => { console.log(error.message); void engine.close().then(() => process.exit(3)) })
    sequence.start({ ...request, tokens: Uint32Array.of(1), maxTokens: 1 }, () => { throw new Error('from onWake') })
  `)
  expect(() => execFileSync(process.execPath, [path], { encoding: 'utf8', timeout: 30_000 })).toThrowError(expect.objectContaining({ status: 3, stdout: expect.stringContaining('from onWake') }))
})

test('workers load, run and end in mid-token, several at a time', async () => {
  const path = program('worker', `
    import { parentPort } from 'node:worker_threads'
    await engine.opened()
    sequence.start(request, () => {})
    parentPort.postMessage('runs')
    setInterval(() => {}, 1000)
  `)
  for (let round = 0; round < 5; round++) {
    const workers = Array.from({ length: 3 }, () => new Worker(path))
    await Promise.all(workers.map(worker => new Promise((resolve, reject) => {
      worker.once('message', resolve)
      worker.once('error', reject)
    })))
    await Promise.all(workers.map(worker => worker.terminate()))
  }
  const ending = new Worker(program('ending', 'sequence.start(request, () => {}); setTimeout(() => process.exit(5), 15)'))
  expect(await new Promise(resolve => ending.once('exit', resolve))).toBe(5)
})

test('a process and a worker may end in mid-measurement; one whose measurement was forgotten ends by itself', async () => {
  const start = `const measure = () => loadBinding().measureReads(${JSON.stringify(modelPath)}, Float64Array.from({ length: 1000 }, (_, i) => i * 4096), ${JSON.stringify({ ...measureOptions, backend: 'pread', depth: 1, bytesMax: 2 ** 40 })})
    await engine.close()`
  expect(() => execFileSync(process.execPath, [program('measure-exit', `${start}
    measure(); setTimeout(() => process.exit(7), 2)`)], { timeout: 30_000 })).toThrowError(expect.objectContaining({ status: 7 }))
  expect(execFileSync(process.execPath, ['--expose-gc', program('measure-forgotten', `${start}
    for (let i = 0; i < 20; i++) { const { cancel, done } = measure(); done.catch(() => {}); cancel(); gc() }
    console.log((await measure().done).blocks > 0)`)], { encoding: 'utf8', timeout: 30_000 })).toBe('true\n')
  const worker = new Worker(program('measure-worker', `${start}
    const { parentPort } = await import('node:worker_threads')
    measure(); measure()
    parentPort.postMessage('runs')
    setInterval(() => {}, 1000)`))
  await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
  await worker.terminate()
})

test('handles that nobody keeps are collected without harm', async () => {
  const path = program('collected', `
    await engine.opened()
    for (let i = 0; i < 20; i++) {
      const other = loadBinding().createEngine(load, ${JSON.stringify(engineOptions)})
      await other.opened()
      const short = other.createSequence()
      await new Promise(resolve => short.start({ ...request, tokens: Uint32Array.of(1), maxTokens: 1 }, () => { if (short.state().phase === 'done') resolve() }))
      globalThis.gc()
      await new Promise(resolve => setTimeout(resolve, 5))
    }
    console.log('alive')
  `)
  expect(execFileSync(process.execPath, ['--expose-gc', path], { encoding: 'utf8', timeout: 60_000 })).toBe('alive\n')
})
