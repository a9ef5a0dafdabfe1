/**
 * What could break: a template of a real model fails or hangs, a hostile one takes the process or the host's event loop
 * with it, a worker is left behind or keeps the process alive.
 * How we notice: 68 templates of model makers (HYPURA_SHARED or ../shared; skipped where absent) render a conversation
 * with tools or fail with a named reason; templates that would run for ever end in seconds, and the next one works.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { HypuraError } from '../base/errors.js'
import { chatTemplateSources, createChatTemplate, type ChatMessage } from './chat-template.js'
import { metadataOf } from './metadata.test.helper.js'

const folder = join(process.env['HYPURA_SHARED'] ?? join(process.cwd(), '../shared'), 'templates')
const names = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.jinja')) : []
if (names.length === 0) console.log(`skipped: no templates in ${folder} (set HYPURA_SHARED)`)

const now = new Date(2025, 0, 1, 12)
const tokens = { bosToken: '<s>', eosToken: '</s>' }
const tool = {
  type: 'function',
  function: { name: 'get_weather', description: 'Weather', parameters: { type: 'object', properties: { city: { type: 'string', description: 'City' } }, required: ['city'] } },
}
const conversation = (args: unknown): ChatMessage[] => [
  { role: 'system', content: 'You are helpful.' },
  { role: 'user', content: 'Weather in Paris?' },
  { role: 'assistant', content: null, tool_calls: [{ id: 'call00001', type: 'function', function: { name: 'get_weather', arguments: args } }] },
  { role: 'tool', tool_call_id: 'call00001', name: 'get_weather', content: '{"t":20}' },
  { role: 'assistant', content: 'It is 20.' },
  { role: 'user', content: 'Thanks' },
]
const hello: ChatMessage[] = [{ role: 'user', content: 'hello' }]

async function failure(source: string, messages: readonly ChatMessage[] = hello): Promise<HypuraError> {
  await using template = createChatTemplate(source, tokens)
  return await template.render(messages, { now }).then(() => { throw new Error('rendered') }, (error: HypuraError) => error)
}

describe.skipIf(names.length === 0)('templates of real models', () => {
  test('render a conversation with tools, or say why not', async () => {
    let rendered = 0
    const reasons: string[] = []
    for (const name of names) {
      await using template = createChatTemplate(readFileSync(join(folder, name), 'utf8'), tokens)
      // Some want arguments as data, some as text; a few know no system message.
      const tries = [conversation({ city: 'Paris' }), conversation('{"city":"Paris"}'), conversation({ city: 'Paris' }).slice(1, 2)]
      let error: HypuraError | undefined
      let text: string | undefined
      for (const messages of tries) {
        try {
          text = await template.render(messages, { now, tools: [tool] })
          break
        } catch (e) {
          error ??= e as HypuraError
        }
      }
      if (error) {
        expect(error).toMatchObject({ code: 'ERR_HYPURA_TEMPLATE', details: { reason: expect.stringMatching(/^(raise|value|missing-feature)$/) as string } })
        reasons.push(`${name}: ${String(error.details['reason'])}, line ${String(error.details['line'])}${text === undefined ? '' : ' (another form of the conversation renders)'}`)
      }
      if (text !== undefined) {
        rendered++
        expect(text).toContain(error ? 'Paris' : 'Thanks')
      }
    }
    console.log(`${rendered} of ${names.length} templates render\n  ${reasons.join('\n  ')}`)
    expect(rendered).toBeGreaterThanOrEqual(Math.floor(names.length * 0.97))
  })
})

describe('chat templates', () => {
  const chatml = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"

  test('get messages, tools, tokens, time and extra variables', async () => {
    await using template = createChatTemplate("{{ bos_token }}{{ tools | length }}{{ strftime_now('%Y') }}{{ thinking }}{{ eos_token }}{{ messages[0].content }}", tokens)
    expect(await template.render([{ role: 'user', content: null }], { now, tools: [tool], extra: { thinking: true } })).toBe('<s>12025True</s>')
  })

  test('many renderings share one worker, in order', async () => {
    await using template = createChatTemplate(chatml, tokens)
    const texts = await Promise.all(Array.from({ length: 50 }, (_, i) => template.render([{ role: 'user', content: `n${i}` }], { now, addGenerationPrompt: i % 2 === 0 })))
    texts.forEach((text, i) => expect(text).toBe(`<|im_start|>user\nn${i}<|im_end|>\n${i % 2 === 0 ? '<|im_start|>assistant\n' : ''}`))
  })

  test('a failed rendering leaves the template usable', async () => {
    await using template = createChatTemplate('{% if messages[0].content == "bad" %}{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}{% endif %}ok', tokens)
    await expect(template.render([{ role: 'user', content: 'bad' }], { now })).rejects.toMatchObject({ code: 'ERR_HYPURA_TEMPLATE' })
    expect(await template.render(hello, { now })).toBe('ok')
  })

  test('a long conversation has time in proportion', async () => {
    await using template = createChatTemplate(chatml, tokens)
    const messages = Array.from({ length: 3000 }, (_, i): ChatMessage => ({ role: i % 2 ? 'assistant' : 'user', content: 'x'.repeat(1000) }))
    expect((await template.render(messages, { now })).length).toBeGreaterThan(3_000_000)
  })

  test('what is no plain data, and a closed template, are refused', async () => {
    const template = createChatTemplate(chatml, tokens)
    await expect(template.render([{ role: 'user', content: 'x', f: () => 1 }], { now })).rejects.toMatchObject({ code: 'ERR_HYPURA_INVALID_ARGUMENT' })
    expect(await template.render(hello, { now })).toContain('hello')
    await template.close()
    await template.close()
    await expect(template.render(hello, { now })).rejects.toMatchObject({ code: 'ERR_HYPURA_DISPOSED' })
  })

  test('closing while rendering ends the rendering', async () => {
    const template = createChatTemplate('{% for a in range(9999) %}{{ "x" * 400 }}{% endfor %}', tokens)
    const rendering = template.render(hello, { now })
    const outcome = expect(rendering).rejects.toMatchObject({ code: 'ERR_HYPURA_DISPOSED' })
    await template.close()
    await outcome
  })

  test('named templates are found', () => {
    const sources = chatTemplateSources(metadataOf({ 'tokenizer.chat_template': 'a', 'tokenizer.chat_template.tool_use': 'b', 'tokenizer.chat_templates': ['tool_use'] }))
    expect([...sources]).toEqual([['default', 'a'], ['tool_use', 'b']])
  })
})

describe('hostile templates', () => {
  const untilKilled = '{% set s = "a" * 4000000 %}{% for i in range(10000) %}{% set x = s | upper %}{% endfor %}'

  test.each([
    ['slow built-in functions', untilKilled, 'time'],
    ['json of long texts', '{% set s = "a" * 4000000 %}{{ ([s] * 60000) | tojson }}', 'time|size'],
    ['four nested loops', `${'{% for i in range(1000) %}'.repeat(4)}x${'{% endfor %}'.repeat(4)}`, 'time|steps|size'],
    ['range(10**9)', '{{ range(10**9) }}', 'size'],
    ['endless macro', '{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}', 'depth'],
    ['100,000 parentheses', `{{ ${'('.repeat(100_000)}1${')'.repeat(100_000)} }}`, 'depth'],
    ['a megabyte of blanks', `${' '.repeat(1_000_000)}{% nosuch %}`, 'syntax|time'],
    ['10 MB of source', 'x'.repeat(10_000_000), 'size'],
    ['an unfinished block', '{% for x in messages %}', 'syntax'],
    ['a refusal', '{{ raise_exception("no") }}', 'raise'],
  ])('%s ends with a typed error', async (_name, source, reasons) => {
    const start = performance.now()
    const error = await failure(source)
    expect(error.code).toBe('ERR_HYPURA_TEMPLATE')
    expect(reasons.split('|')).toContain(error.details['reason'])
    expect(performance.now() - start).toBeLessThan(20_000)
  })

  test('the event loop stays free', async () => {
    let latest = performance.now()
    let worst = 0
    const beat = setInterval(() => {
      worst = Math.max(worst, performance.now() - latest)
      latest = performance.now()
    }, 5)
    await failure(untilKilled)
    clearInterval(beat)
    expect(worst).toBeLessThan(500)
  })

  test('an idle worker does not keep the process alive', () => {
    const module = new URL('./chat-template.js', import.meta.url).href
    const script = `const { createChatTemplate } = await import(${JSON.stringify(module)});
      const t = createChatTemplate('{{ messages[0].content }}', { bosToken: '', eosToken: '' });
      console.log(await t.render([{ role: 'user', content: 'done' }], { now: new Date(0) }))`
    const result = spawnSync(process.execPath, ['--input-type=module', '-e', script], { timeout: 60_000, encoding: 'utf8' })
    expect([result.status, result.stdout.trim(), result.stderr]).toEqual([0, 'done', ''])
  })
})
