/** What a conversation understands besides messages: /help, /clear, /regen, /read, /set, /show, /stats, /bye. */
import { InvalidArgumentError } from 'commander'
import { HypuraError, nearest } from '../ts/engine/index.js'
import { showFooter } from './answer.js'
import { type SamplingFlags, type SamplingParameter, samplingParsers } from './commands/shared-options.js'
import { modeLine } from './loading.js'
import { readTextFile } from './prompt-input.js'
import type { Conversation } from './repl.js'
import { note } from './terminal.js'

export type Action = { readonly kind: 'say'; readonly text: string } | { readonly kind: 'again' } | { readonly kind: 'done' } | { readonly kind: 'leave' }

interface SlashCommand {
  readonly names: readonly string[]
  readonly usage: string
  readonly summary: string
  readonly run: (conversation: Conversation, argument: string) => Action | Promise<Action>
}

const done: Action = { kind: 'done' }

/** Where each parameter is kept, and what is in force without it. */
const parameters: Readonly<Record<SamplingParameter, { readonly key: keyof SamplingFlags; readonly otherwise: string }>> = {
  temp: { key: 'temp', otherwise: '0.8' },
  'top-k': { key: 'topK', otherwise: '40' },
  'top-p': { key: 'topP', otherwise: '0.95' },
  'min-p': { key: 'minP', otherwise: '0.05' },
  'repeat-penalty': { key: 'repeatPenalty', otherwise: '1' },
  'repeat-last-n': { key: 'repeatLastN', otherwise: '64' },
  'frequency-penalty': { key: 'frequencyPenalty', otherwise: '0' },
  'presence-penalty': { key: 'presencePenalty', otherwise: '0' },
  seed: { key: 'seed', otherwise: 'random' },
  predict: { key: 'predict', otherwise: '-1, without a chat template 256' },
}
const parameterNames = Object.keys(parameters) as SamplingParameter[]

const slashCommands: readonly SlashCommand[] = [
  { names: ['help', '?'], usage: '/help', summary: 'this list; """ begins and ends a message of several lines', run: help },
  { names: ['bye', 'exit', 'quit'], usage: '/bye', summary: 'leave', run: () => ({ kind: 'leave' }) },
  { names: ['clear'], usage: '/clear', summary: 'forget the conversation', run: clear },
  { names: ['regen'], usage: '/regen', summary: 'answer the last message again', run: () => ({ kind: 'again' }) },
  { names: ['read'], usage: '/read FILE', summary: 'send a file as a message', run: read },
  { names: ['set'], usage: '/set NAME VALUE', summary: 'change a sampling parameter (/show parameters), or the system message', run: set },
  { names: ['show'], usage: '/show info|parameters|system|template', summary: 'what is in force', run: show },
  { names: ['stats'], usage: '/stats', summary: 'figures of the last answer', run: stats },
]

export async function runSlashCommand(conversation: Conversation, line: string): Promise<Action> {
  const [, name = '', argument = ''] = /^\/(\S*)\s*([^]*)$/.exec(line) ?? []
  const command = slashCommands.find(({ names }) => names.includes(name))
  if (command === undefined) {
    const suggestion = nearest(name, slashCommands.flatMap(({ names }) => names))
    throw new HypuraError('ERR_HYPURA_USAGE', `unknown command /${name}${suggestion === undefined ? '' : `, did you mean /${suggestion}?`} (/help lists them)`)
  }
  return command.run(conversation, argument.trim())
}

function help(): Action {
  const width = Math.max(...slashCommands.map(({ usage }) => usage.length))
  for (const { usage, summary } of slashCommands) note(`${usage.padEnd(width)}  ${summary}`)
  return done
}

function clear(conversation: Conversation): Action {
  conversation.messages = []
  conversation.lastAnswer = undefined
  conversation.sequence.truncate(0)
  return done
}

async function read(_: Conversation, path: string): Promise<Action> {
  if (path === '') throw new HypuraError('ERR_HYPURA_USAGE', '/read needs a file')
  return { kind: 'say', text: await readTextFile(path) }
}

function set(conversation: Conversation, argument: string): Action {
  const [, name = '', value = ''] = /^(\S+)\s*([^]*)$/.exec(argument) ?? []
  if (name === 'system') {
    conversation.system = value === '' ? undefined : value
    return done
  }
  const parameter = parameterNames.find((known) => known === name)
  if (parameter === undefined) {
    const known = ['system', ...parameterNames]
    const suggestion = nearest(name, known)
    throw new HypuraError('ERR_HYPURA_USAGE', suggestion === undefined ? `/set knows ${known.join(', ')}` : `/set does not know "${name}", did you mean ${suggestion}?`)
  }
  conversation.sampling = { ...conversation.sampling, [parameters[parameter].key]: parsed(parameter, value) }
  return done
}

function parsed(parameter: SamplingParameter, value: string): number {
  try {
    return samplingParsers[parameter](value)
  } catch (error) {
    if (!(error instanceof InvalidArgumentError)) throw error
    throw new HypuraError('ERR_HYPURA_USAGE', `/set ${parameter}: "${value}" is not taken. ${error.message}`)
  }
}

function show(conversation: Conversation, what: string): Action {
  switch (what) {
    case '':
    case 'info':
      note(`${conversation.path}\n${modeLine(conversation.model)}\ncontext: ${conversation.sequence.tokens.length} of ${conversation.sequence.contextLength} positions used`)
      return done
    case 'parameters':
      for (const name of parameterNames) note(`${name}: ${String(conversation.sampling[parameters[name].key] ?? parameters[name].otherwise)}`)
      return done
    case 'system':
      note(conversation.system ?? '(none)')
      return done
    case 'template':
      note(conversation.template?.source ?? '(none)')
      return done
    default:
      throw new HypuraError('ERR_HYPURA_USAGE', `/show knows info, parameters, system, template; not "${what}"`)
  }
}

function stats(conversation: Conversation): Action {
  if (conversation.lastAnswer === undefined) note('no answer yet')
  else showFooter(conversation.lastAnswer, conversation.model)
  return done
}
