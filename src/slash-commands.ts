/** What a conversation understands besides messages: /help, /clear, /regen, /read, /set, /show, /stats, /bye. */
import { readFile } from 'node:fs/promises'
import { HypuraError, nearest } from '../ts/engine/index.js'
import { showFooter } from './answer.js'
import { integer, real, type SamplingFlags } from './commands/shared-options.js'
import { modeLine } from './loading.js'
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

const parameters: Readonly<Record<string, { readonly key: keyof SamplingFlags; readonly parse: (text: string) => number }>> = {
  temp: { key: 'temp', parse: real },
  'top-k': { key: 'topK', parse: integer },
  'top-p': { key: 'topP', parse: real },
  'min-p': { key: 'minP', parse: real },
  'repeat-penalty': { key: 'repeatPenalty', parse: real },
  'frequency-penalty': { key: 'frequencyPenalty', parse: real },
  'presence-penalty': { key: 'presencePenalty', parse: real },
  seed: { key: 'seed', parse: integer },
  predict: { key: 'predict', parse: integer },
}

const slashCommands: readonly SlashCommand[] = [
  { names: ['help', '?'], usage: '/help', summary: 'this list; """ begins and ends a message of several lines', run: help },
  { names: ['bye', 'exit', 'quit'], usage: '/bye', summary: 'leave', run: () => ({ kind: 'leave' }) },
  { names: ['clear'], usage: '/clear', summary: 'forget the conversation', run: clear },
  { names: ['regen'], usage: '/regen', summary: 'answer the last message again', run: () => ({ kind: 'again' }) },
  { names: ['read'], usage: '/read FILE', summary: 'send a file as a message', run: read },
  { names: ['set'], usage: '/set NAME VALUE', summary: `set system, or ${Object.keys(parameters).join(', ')}`, run: set },
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
  try {
    return { kind: 'say', text: await readFile(path, 'utf8') }
  } catch (error) {
    throw new HypuraError('ERR_HYPURA_USAGE', `cannot read ${path}: ${(error as Error).message}`, { path }, { cause: error })
  }
}

function set(conversation: Conversation, argument: string): Action {
  const [, name = '', value = ''] = /^(\S+)\s*([^]*)$/.exec(argument) ?? []
  if (name === 'system') {
    conversation.system = value === '' ? undefined : value
    return done
  }
  const parameter = parameters[name]
  if (parameter === undefined) throw new HypuraError('ERR_HYPURA_USAGE', `/set knows system, ${Object.keys(parameters).join(', ')}`)
  conversation.sampling = { ...conversation.sampling, [parameter.key]: parameter.parse(value) }
  return done
}

function show(conversation: Conversation, what: string): Action {
  switch (what) {
    case '':
    case 'info':
      note(`${conversation.path}\n${modeLine(conversation.model)}\ncontext: ${conversation.sequence.tokens.length} of ${conversation.sequence.contextLength} positions used`)
      return done
    case 'parameters':
      for (const [name, { key }] of Object.entries(parameters)) note(`${name}: ${String(conversation.sampling[key] ?? 'default')}`)
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
