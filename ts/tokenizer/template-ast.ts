/**
 * The nodes that the parser of @huggingface/jinja makes, as far as they are read here.
 *
 * @see @huggingface/jinja 0.5.11, src/ast.ts
 */
export type Node =
  | { type: 'Program'; body: Node[] }
  | { type: 'If'; test: Node; body: Node[]; alternate: Node[] }
  | { type: 'For'; loopvar: Node; iterable: Node; body: Node[]; defaultBlock: Node[] }
  | { type: 'Break' | 'Continue' }
  | { type: 'Set'; assignee: Node; value: Node | null; body: Node[] }
  | { type: 'Macro'; name: Identifier; args: Node[]; body: Node[] }
  | { type: 'CallStatement'; call: Call; callerArgs: Node[] | null; body: Node[] }
  | { type: 'FilterStatement'; filter: Identifier | Call; body: Node[] }
  | { type: 'Comment'; value: string }
  | Member
  | Call
  | Identifier
  | { type: 'IntegerLiteral' | 'FloatLiteral'; value: number }
  | { type: 'StringLiteral'; value: string }
  | { type: 'ArrayLiteral' | 'TupleLiteral'; value: Node[] }
  | { type: 'ObjectLiteral'; value: Map<Node, Node> }
  | Binary
  | { type: 'FilterExpression'; operand: Node; filter: Identifier | Call }
  | { type: 'TestExpression'; operand: Node; negate: boolean; test: Identifier }
  | { type: 'UnaryExpression'; operator: { value: string }; argument: Node }
  | Slice
  | { type: 'KeywordArgumentExpression'; key: Identifier; value: Node }
  | { type: 'SpreadExpression' | 'KeywordSpreadExpression'; argument: Node }
  | { type: 'SelectExpression'; lhs: Node; test: Node }
  | { type: 'Ternary'; condition: Node; trueExpr: Node; falseExpr: Node }

export interface Identifier {
  type: 'Identifier'
  value: string
}

export interface Member {
  type: 'MemberExpression'
  object: Node
  property: Node
  computed: boolean
}

export interface Call {
  type: 'CallExpression'
  callee: Node
  args: Node[]
}

export interface Binary {
  type: 'BinaryExpression'
  operator: { value: string }
  left: Node
  right: Node
}

export interface Slice {
  type: 'SliceExpression'
  start?: Node
  stop?: Node
  step?: Node
}

/** A token of the lexer. */
export interface LexerToken {
  value: string
  type: string
}
