/**
 * A template, parsed once and rendered many times; synchronous and without a watch on time. Runs inside the worker, and
 * in tests.
 */
import { parse, tokenize } from '@huggingface/jinja'
import { strftime } from './strftime.js'
import { templateLimits, type TemplateLimits } from './limits.js'
import type { LexerToken, Node } from './template-ast.js'
import { Budget } from './template-budget.js'
import { TemplateFailure } from './template-failure.js'
import { Interpreter } from './template-interpreter.js'
import { markLines } from './template-lines.js'
import { integer } from './template-methods.js'
import { Scope } from './template-scope.js'
import { Callable, fromData, Namespace, toText, type Value } from './template-values.js'

/** What a template gets, as plain data. */
export interface TemplateInput {
  readonly variables: Readonly<Record<string, unknown>>
  /** For strftime_now, in ms since 1970. */
  readonly nowMs: number
  /** UTF-16 units of all texts in `variables`: results may be that much longer. */
  readonly units: number
}

export interface Rendering {
  readonly text: string
  readonly steps: number
  readonly deepest: number
}

export interface TemplateProgram {
  /** @throws TemplateFailure */
  render(input: TemplateInput): Rendering
}

const untyped = { tokenize, parse } as unknown as {
  tokenize(source: string, options: { lstrip_blocks: boolean; trim_blocks: boolean }): LexerToken[]
  parse(tokens: readonly LexerToken[]): Node
}

/** @throws TemplateFailure with reason "syntax", "size" or "depth" */
export function compileTemplate(source: string, limits: TemplateLimits = templateLimits): TemplateProgram {
  if (source.length > limits.sourceUnits) {
    throw new TemplateFailure('size', `the template has ${source.length} characters, at most ${limits.sourceUnits} are allowed`)
  }
  const program = parseSource(source)
  return {
    render(input) {
      const budget = new Budget(limits, input.units)
      const text = new Interpreter(budget).render(program, globals(input, budget))
      return { text, steps: budget.steps, deepest: budget.deepest }
    },
  }
}

function parseSource(source: string): Node & { type: 'Program' } {
  let line: number | undefined
  try {
    const lexed = untyped.tokenize(source, { lstrip_blocks: true, trim_blocks: true })
    const marked = markLines(source, lexed)
    let reached = 0
    const watched = new Proxy(marked.tokens, {
      get(tokens, key, receiver) {
        if (typeof key === 'string' && /^\d+$/.test(key)) {
          reached = Number(key)
          line = marked.lineAt(reached)
        }
        return Reflect.get(tokens, key, receiver)
      },
    })
    return untyped.parse(watched) as Node & { type: 'Program' }
  } catch (error) {
    if (error instanceof RangeError) throw new TemplateFailure('depth', 'the template is nested too deeply', line)
    // At the end of the tokens the parser stumbles over undefined: a TypeError means an unfinished block.
    const message = error instanceof TypeError ? 'the template ends inside a statement or a block' : (error as Error).message
    throw new TemplateFailure('syntax', message, line)
  }
}

function globals({ variables, nowMs }: TemplateInput, budget: Budget): Scope {
  const scope = new Scope()
  for (const name of ['true', 'True']) scope.set(name, true)
  for (const name of ['false', 'False']) scope.set(name, false)
  for (const name of ['none', 'None', 'null']) scope.set(name, null)
  const define = (name: string, call: Callable['call']): void => scope.set(name, new Callable(name, call))
  define('raise_exception', ([message]) => {
    throw new TemplateFailure('raise', toText(message, budget).slice(0, 1000))
  })
  define('strftime_now', ([format]) => budget.text(strftime(new Date(nowMs), toText(format, budget))))
  define('range', (args) => range(args, budget))
  define('namespace', ([from], keywords) => {
    const space = new Namespace(keywords)
    if (from instanceof Map) for (const [key, value] of from) if (!keywords.has(String(key))) space.entries.set(String(key), value)
    return space
  })
  define('dict', ([from], keywords) => new Map([...(from instanceof Map ? from : []), ...keywords]))
  for (const [name, value] of Object.entries(variables)) scope.set(name, fromData(value, budget.limits.inputDepth))
  // The template's own names shadow these, not the other way round.
  return new Scope(scope)
}

function range(args: readonly Value[], budget: Budget): Value[] {
  const [start, stop, step] = args.length === 1 ? [0, integer(args[0]), 1] : [integer(args[0]), integer(args[1]), integer(args[2] ?? 1)]
  if (step === 0) throw new TemplateFailure('value', 'range() with step 0')
  const count = Math.max(0, Math.ceil((stop - start) / step))
  budget.rangeOf(count)
  return Array.from({ length: count }, (_, i) => start + i * step)
}
