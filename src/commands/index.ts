/** All commands, in the order in which `hypura --help` lists them. One file each; adding one is one line here. */
import type { Command } from 'commander'
import { addBench } from './bench.js'
import { addBuild } from './build.js'
import { addChat } from './chat.js'
import { addDoctor } from './doctor.js'
import { addIoBench } from './iobench.js'
import { addInspect } from './inspect.js'
import { addLogits } from './logits.js'
import { addPerplexity } from './perplexity.js'
import { addPlan } from './plan.js'
import { addRun } from './run.js'
import { addSimulate } from './simulate.js'
import { addTrace } from './trace.js'

export const commands: readonly ((root: Command) => void)[] = [addRun, addChat, addPlan, addBench, addInspect, addDoctor, addIoBench, addLogits, addPerplexity, addTrace, addSimulate, addBuild]
