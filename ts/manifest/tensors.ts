/**
 * From tensor names to roles: finds every tensor that a family needs, proves its shape and type, and refuses leftovers
 * that would change an answer.
 *
 * A tensor without elements counts as absent (files in the wild carry such placeholders). Tensors of unknown names are
 * ignored; tensors whose names have a meaning in GGUF, but no place in this family, are not.
 */
import type { GgufModel, TensorInfo } from '../gguf/types.js'
import type { Architecture, TensorPattern } from './architectures/architecture.js'
import { kernelTypes, typeF32, type KernelType } from './kernel-types.js'
import { modelError } from './model-error.js'
import { isMixtureLayer, type ModelSpec } from './model-spec.js'
import { factorsTensor } from './rope.js'
import { residenceOf, roleOrder, shapeOf, type Residence, type TensorRole } from './tensor-role.js'

/** kExtentBytesMax of native/runtime/load_checks.h. */
const extentBytesMax = 2 ** 31
/** Residences that are cut into pieces anyway. */
const bandLike: ReadonlySet<Residence> = new Set(['bands', 'rows'])

/** Contiguous bytes of one matrix, vector or expert. */
export interface Slice {
  readonly file: number
  readonly type: number
  readonly offset: number
  readonly bytes: number
}

/** One role of one layer. */
export interface AssignedTensor {
  readonly role: TensorRole
  /** undefined: of the whole model. */
  readonly layer: number | undefined
  /** As in the file; of the first expert where each has its own. */
  readonly name: string
  /** Per expert for expert tensors; 1 for vectors. */
  readonly rows: number
  readonly cols: number
  /** One, or one per expert. */
  readonly slices: readonly Slice[]
}

/**
 * Every tensor of the model by role: whole-model ones before and after, layers ascending, roles in order of use.
 * Errors: CORRUPT_GGUF (S13 shape, S14 missing, P1 layers beyond block_count), UNSUPPORTED_TENSOR_TYPE, UNSUPPORTED_MODEL.
 */
export function assignTensors(model: GgufModel, architecture: Architecture, spec: ModelSpec): AssignedTensor[] {
  const taken = new Set<string>([factorsTensor].filter(() => architecture.ropeFactors))
  const patterns = new Map(architecture.tensors.map((pattern) => [pattern.role, pattern]))
  const assigned: AssignedTensor[] = []
  const assign = (role: TensorRole, layer: number | undefined): void => {
    const pattern = patterns.get(role)
    if (pattern === undefined || pattern.name.includes('{layer}') !== (layer !== undefined)) return
    if (layer !== undefined && !appliesTo(pattern, spec, layer, model)) return
    const tensor = findTensor(model, spec, pattern, layer, taken)
    if (tensor !== undefined) assigned.push(tensor)
  }
  const tail = roleOrder.indexOf('outputNorm')
  for (const role of roleOrder.slice(0, tail)) assign(role, undefined)
  for (let layer = 0; layer < spec.nLayer; layer++) for (const role of roleOrder) assign(role, layer)
  for (const role of roleOrder.slice(tail)) assign(role, undefined)
  if (!assigned.some(({ role }) => role === 'output')) assigned.push(tieHead(model, architecture, assigned))
  refuseLeftovers(model, architecture, spec, taken)
  refuseMixedForms(model, assigned)
  refuseHugePieces(model, assigned)
  return assigned
}

/** Gate and up are one tensor in every layer or in none: the decoder chooses once. */
function refuseMixedForms(model: GgufModel, assigned: readonly AssignedTensor[]): void {
  const fused = assigned.find(({ role }) => role === 'expertGateUp')
  const apart = assigned.find(({ role }) => role === 'expertGate')
  if (fused !== undefined && apart !== undefined) {
    throw modelError(
      model, 'ERR_HYPURA_UNSUPPORTED_MODEL', `gate and up are one tensor in ${fused.name} and two beside ${apart.name}.`,
      { rule: 'S14', tensor: apart.name },
    )
  }
}

/** A slot is addressed with 32 bits. */
function refuseHugePieces(model: GgufModel, assigned: readonly AssignedTensor[]): void {
  for (const { role, name, slices } of assigned) {
    const { bytes } = slices[0]!
    if (bandLike.has(residenceOf(role)) || bytes <= extentBytesMax) continue
    throw modelError(
      model, 'ERR_HYPURA_UNSUPPORTED_MODEL', `one piece of ${name} has ${bytes} bytes, at most ${extentBytesMax} are one block.`,
      { tensor: name, found: bytes, allowed: extentBytesMax },
    )
  }
}

/** Does the layer have this tensor, as far as the spec and a fused gate-and-up tensor say? */
function appliesTo(pattern: TensorPattern, spec: ModelSpec, layer: number, model: GgufModel): boolean {
  const mixture = isMixtureLayer(spec, layer)
  if (pattern.layers !== undefined && (pattern.layers === 'mixture') !== mixture) return false
  if (pattern.role.startsWith('shared') && spec.nFfShared === 0) return false
  const fused = model.tensors.get(`blk.${layer}.ffn_gate_up_exps.weight`)
  return !(fused !== undefined && (pattern.role === 'expertGate' || pattern.role === 'expertUp'))
}

function findTensor(
  model: GgufModel, spec: ModelSpec, pattern: TensorPattern, layer: number | undefined, taken: Set<string>,
): AssignedTensor | undefined {
  const { role } = pattern
  const name = pattern.name.replace('{layer}', String(layer))
  const shape = shapeOf(role, spec)
  const [cols = 1, rows = 1] = shape.dims
  const whole = present(model, name)
  if (whole !== undefined) {
    taken.add(name)
    checkTensor(model, whole, role, shape)
    const count = residenceOf(role) === 'experts' ? spec.nExpert : 1
    const bytes = whole.bytes / count
    const { file, type, offset } = whole
    const slices = Array.from({ length: count }, (_, i): Slice => ({ file, type, offset: offset + i * bytes, bytes }))
    return { role, layer, name, rows, cols, slices }
  }
  if (pattern.perExpert !== undefined) {
    const first = pattern.perExpert.replace('{layer}', String(layer))
    if (present(model, first.replace('{expert}', '0')) !== undefined) {
      const slices = Array.from({ length: spec.nExpert }, (_, expert): Slice => {
        const own = first.replace('{expert}', String(expert))
        const tensor = present(model, own) ?? missing(model, own, role)
        taken.add(own)
        checkTensor(model, tensor, role, { dims: shape.dims.slice(0, 2), keys: shape.keys })
        return { file: tensor.file, type: tensor.type, offset: tensor.offset, bytes: tensor.bytes }
      })
      return { role, layer, name: first.replace('{expert}', '0'), rows, cols, slices }
    }
  }
  return pattern.need === 'required' ? missing(model, name, role) : undefined
}

function present(model: GgufModel, name: string): TensorInfo | undefined {
  const tensor = model.tensors.get(name)
  return tensor === undefined || tensor.dims.includes(0) ? undefined : tensor
}

function missing(model: GgufModel, name: string, role: TensorRole): never {
  throw modelError(
    model, 'ERR_HYPURA_CORRUPT_GGUF',
    `the tensor ${name} is missing. The file is incomplete, or block_count and expert_count promise more than it holds.`,
    { rule: 'S14', tensor: name, role },
  )
}

function checkTensor(
  model: GgufModel, tensor: TensorInfo, role: TensorRole, { dims, keys }: ReturnType<typeof shapeOf>,
): void {
  const allowedTypes = typesFor(role)
  if (!allowedTypes.some(({ id }) => id === tensor.type)) {
    const allowed = allowedTypes.map(({ name }) => name).join(', ')
    throw modelError(
      model, 'ERR_HYPURA_UNSUPPORTED_TENSOR_TYPE',
      `the tensor ${tensor.name} is ${tensor.typeName}; its role needs ${allowed}. Take a file in another quantisation.`,
      { rule: 'S14', tensor: tensor.name, role, found: tensor.typeName, allowed },
    )
  }
  const found = withoutOnes(tensor.dims)
  const wanted = withoutOnes(dims)
  if (found.length === wanted.length && found.every((dim, i) => dim === wanted[i])) return
  throw modelError(
    model, 'ERR_HYPURA_CORRUPT_GGUF',
    `the tensor ${tensor.name} is ${tensor.dims.join(' x ')}; ${keys.join(', ')} ask for ${dims.join(' x ')}.`,
    { rule: 'S13', tensor: tensor.name, role, found: tensor.dims.join(' x '), allowed: dims.join(' x '), field: keys.join(', ') },
  )
}

/** Vectors are added and multiplied as they are: F32. A router of one row is a vector too, but only read by a dot product. */
function typesFor(role: TensorRole): readonly KernelType[] {
  const all = [...kernelTypes.values()]
  if (residenceOf(role) === 'vector') return all.filter(({ id }) => id === typeF32)
  return role === 'sharedRouter' ? all.filter(({ blockWeights }) => blockWeights === 1) : all
}

/** Trailing sides of length 1 are a matter of taste. */
function withoutOnes(dims: readonly number[]): readonly number[] {
  let length = dims.length
  while (length > 1 && dims[length - 1] === 1) length--
  return dims.slice(0, length)
}

/** The head of a file without output.weight: the token embedding's bytes, listed a second time. */
function tieHead(model: GgufModel, { tiedHead }: Architecture, assigned: readonly AssignedTensor[]): AssignedTensor {
  const embedding = assigned.find(({ role }) => role === 'tokenEmbedding')
  if (!tiedHead || embedding === undefined) return missing(model, 'output.weight', 'output')
  return { ...embedding, role: 'output' }
}

/** Last parts of names that GGUF gives a meaning in a forward pass. */
const meaningful = new RegExp(
  '^(?:' +
  'attn_(?:norm|norm_2|q|k|v|qkv|output|out|q_norm|k_norm|sub_norm|post_norm|sinks|gate|rel_b|' +
  'q_a|q_b|k_b|v_b|kv_b|kv_a_mqa|q_a_norm|kv_a_norm|q_scale|k_scale|v_scale|output_scale)' +
  '|post_attention_norm|post_ffw_norm|post_ffw_norm_\\d|pre_ffw_norm_\\d|layer_output_norm|layer_output_scale' +
  '|ffn_(?:norm|post_norm|sub_norm|gate|up|down|act|norm_exps|gate_inp|gate_inp_shexp|exp_probs_b)' +
  '|ffn_(?:gate|up|down|gate_up)_(?:exps|shexp|chexps)|ffn_(?:gate|up|down)\\.\\d+' +
  '|exp_probs_b|ssm_\\w+|shortconv\\.\\w+|nextn\\.\\w+|cross_attn_\\w+|inp_gate|proj|post_norm|per_layer_\\w+' +
  ')(?:\\.(?:weight|bias|scale))?$',
)
const meaningfulEnds = new RegExp(
  '^(?:token_embd|token_embd_norm|token_types|position_embd|output_norm|output|rope_freqs|rope_factors_(?:long|short)' +
  '|per_layer_\\w+)\\.(?:weight|bias|scale)$',
)

/** Tensors with a meaning and without a place: computing without them would give another answer in silence. */
function refuseLeftovers(
  model: GgufModel, architecture: Architecture, spec: ModelSpec, taken: ReadonlySet<string>,
): void {
  for (const { name, dims } of model.tensors.values()) {
    if (taken.has(name) || dims.includes(0)) continue
    const block = /^blk\.(\d+)\.(.+)$/.exec(name)
    if (!(block === null ? meaningfulEnds.test(name) : meaningful.test(block[2]!))) continue
    const layer = block === null ? undefined : Number(block[1])
    if (layer !== undefined && layer >= spec.nLayer) {
      throw modelError(
        model, 'ERR_HYPURA_CORRUPT_GGUF',
        `block_count is ${spec.nLayer}, and there is a tensor ${name}: layers would be left out.`,
        { rule: 'P1', field: `${architecture.name}.block_count`, tensor: name, found: spec.nLayer, allowed: layer + 1 },
      )
    }
    throw modelError(
      model, 'ERR_HYPURA_UNSUPPORTED_MODEL',
      `the tensor ${name} has no place in the architecture ${architecture.name} as this version computes it; ` +
        'leaving it out would change the answers.',
      { rule: 'S14', tensor: name },
    )
  }
}
