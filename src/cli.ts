#!/usr/bin/env node
/** The `hypura` program: finds the command, runs it, and ends with the exit code of exit-codes.ts. */
import { Command, CommanderError } from 'commander'
import { HypuraError, packageVersion } from '../ts/engine/index.js'
import { commands } from './commands/index.js'
import { exitCodeOf, exitCodes } from './exit-codes.js'
import { quietOnClosedPipe } from './output.js'
import { fail } from './terminal.js'

function program(): Command {
  const root = new Command('hypura')
    .description('Runs language models two to three times larger than memory: streams GGUF weights from the drive.')
    .version(packageVersion, '-V, --version')
    .enablePositionalOptions()
    .showHelpAfterError('(hypura --help shows all commands, hypura COMMAND --help its flags)')
    .exitOverride()
  for (const add of commands) add(root)
  for (const command of root.commands) command.exitOverride().showHelpAfterError(`(hypura ${command.name()} --help shows its flags)`)
  return root
}

async function main(): Promise<number> {
  quietOnClosedPipe()
  try {
    await program().parseAsync()
    return Number(process.exitCode ?? exitCodes.done)
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.done : exitCodes.usage
    if (error instanceof HypuraError) fail(`${error.message}\n  ${error.code}${describe(error)}`)
    else fail(error instanceof Error ? error.stack ?? error.message : String(error))
    if (process.env['HYPURA_DEBUG'] !== undefined && error instanceof Error) console.error(error.stack, error.cause)
    return exitCodeOf(error)
  }
}

function describe({ details }: HypuraError): string {
  const facts = Object.entries(details).filter(([, value]) => value !== undefined)
  return facts.length === 0 ? '' : ` (${facts.map(([key, value]) => `${key}: ${String(value)}`).join(', ')})`
}

process.exitCode = await main()
