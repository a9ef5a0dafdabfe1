/** `hypura inspect`: what a file says of itself: metadata, tensors, and where its bytes lie. */
import { Argument, type Command, Option } from 'commander'
import { mapJson, metadataJson, summaryJson, templateJson, tensorsJson } from '../inspect/json.js'
import { openSubject, type Subject } from '../inspect/subject.js'
import { metadataText, summaryText, templateText, tensorsText } from '../inspect/text.js'
import { mapText } from '../inspect/use-map.js'
import { write, writeJson } from '../output.js'
import { reportError } from '../report-error.js'

type Section = 'summary' | 'metadata' | 'tensors' | 'map' | 'template'

const sections: Readonly<Record<Section, { readonly text: (subject: Subject) => string; readonly json: (subject: Subject) => unknown }>> = {
  summary: { text: (subject) => [summaryText(subject), mapText(subject), metadataText(subject)].join('\n\n'), json: summaryJson },
  metadata: { text: metadataText, json: metadataJson },
  tensors: { text: tensorsText, json: tensorsJson },
  map: { text: mapText, json: mapJson },
  template: { text: templateText, json: templateJson },
}

export function addInspect(root: Command): void {
  root
    .command('inspect')
    .description('show metadata, tensors and the map of a model file, also of one that cannot be run; reads no weights')
    .argument('<model>', 'GGUF file; the first part of a split one is enough')
    .addArgument(new Argument('[section]', 'what to show').choices(Object.keys(sections)).default('summary'))
    .addOption(new Option('-o, --output <format>', 'output format').choices(['human', 'json']).default('human'))
    .action(async (path: string, section: Section, { output }: { output: string }) => {
      const subject = await openSubject(path)
      if (output === 'json') await writeJson(sections[section].json(subject))
      else await write(`${sections[section].text(subject)}\n`)
      // Shown as far as it goes; scripts see by the exit code that it cannot be run.
      if (subject.obstacle !== undefined) process.exitCode = reportError(subject.obstacle)
    })
}
