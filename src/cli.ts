#!/usr/bin/env node
/** The `hypura` program: finds the command, runs it, and ends with the exit code of exit-codes.ts. */
import { Command } from 'commander'
import { packageVersion } from '../ts/engine/index.js'
import { commands } from './commands/index.js'
import { exitCodes } from './exit-codes.js'
import { watchStreams } from './output.js'
import { reportError, reportUncaught } from './report-error.js'

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
  watchStreams()
  reportUncaught()
  try {
    await program().parseAsync()
    return Number(process.exitCode ?? exitCodes.done)
  } catch (error) {
    return reportError(error)
  }
}

process.exitCode = await main()
