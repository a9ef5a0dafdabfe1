/** Which chat template runs: the one that was asked for, else the file's own; never a silent substitute. */
import { readFile } from 'node:fs/promises'
import { type ChatTemplate, HypuraError, type Model } from '../ts/engine/index.js'

/** For models whose file lost its template; only on request. */
const builtIn: Readonly<Record<string, string>> = {
  chatml: "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
}

/** Undefined when none was asked for and the file has none. */
export async function templateOf(model: Model, choice: string | undefined): Promise<ChatTemplate | undefined> {
  if (choice === undefined) return model.chatTemplate
  const source = builtIn[choice]
  if (source !== undefined) return model.createChatTemplate(source)
  try {
    return model.createChatTemplate(await readFile(choice, 'utf8'))
  } catch (error) {
    if (error instanceof HypuraError) throw error
    throw new HypuraError('ERR_HYPURA_USAGE', `--chat-template ${choice} is neither a file that can be read nor one of ${Object.keys(builtIn).join(', ')}`, { field: 'chat-template' }, { cause: error })
  }
}
