vim9script

# The process of ingle-lsp, and JSON-RPC with it.
#
# Owns one process, and which request an answer belongs to. What messages mean is `client`'s affair.

var process: job = null_job
# Called with each request or notification of the server, and at the end with the exit status.
var OnMessage: func
var OnExit: func
# Requests without an answer yet: number → function of (error, result); an error is one line, or
# empty.
var open: dict<func> = {}
# The last lines of standard error. The server writes no source text there.
var log: list<string> = []
const LOG_LINES = 200

# Start a command; returns why it could not be started, or nothing.
export def Start(command: list<string>, Message: func, Exit: func): string
  OnMessage = Message
  OnExit = Exit
  try
    process = job_start(command, {
      in_mode: 'lsp',
      out_mode: 'lsp',
      err_mode: 'nl',
      # A server that does not read must not stop Vim.
      noblock: 1,
      out_cb: Received,
      err_cb: Logged,
      exit_cb: Ended,
      # It ends by itself when its input does.
      stoponexit: '',
    })
  catch
    process = null_job
    return v:exception->substitute('^Vim\%((\a\+)\)\=:', '', '')
  endtry
  return job_status(process) == 'run' ? '' : 'it ended at once'
enddef

export def IsRunning(): bool
  return process != null_job && job_status(process) == 'run'
enddef

# Ask; returns the number of the request. Without a process there is no answer, only its end.
export def Request(method: string, params: any, Callback: func): number
  var message: dict<any> = {method: method}
  if params != null
    message.params = params
  endif
  try
    var sent: any = ch_sendexpr(process, message, {callback: Answered})
    if type(sent) == v:t_dict && has_key(sent, 'id')
      open[sent.id] = Callback
      return sent.id
    endif
  catch /^Vim\%((\a\+)\)\=:E\%(630\|631\|906\):/
    # It ended just now; `Ended` comes soon.
  endtry
  return 0
enddef

# Tell.
export def Notify(method: string, params: any)
  Send({method: method, params: params})
enddef

# Give a request up; its callback is not called.
export def Cancel(number: number)
  if has_key(open, number)
    remove(open, number)
    Notify('$/cancelRequest', {id: number})
  endif
enddef

# Answer the server. Its identifiers may be texts, which `ch_sendexpr()` does not send.
export def Respond(id: any, result: any)
  SendRaw({jsonrpc: '2.0', id: id, result: result})
enddef

export def Refuse(id: any, code: number, text: string)
  SendRaw({jsonrpc: '2.0', id: id, error: {code: code, message: text}})
enddef

# End it: politely, or at once. Without an answer to wait for: it reads in order.
export def Stop(is_hard = false)
  if is_hard
    job_stop(process, 'kill')
    return
  endif
  Send({method: 'shutdown', id: 0})
  Send({method: 'exit'})
enddef

# What it wrote to standard error.
export def Log(): list<string>
  return copy(log)
enddef

def Send(message: dict<any>)
  try
    ch_sendexpr(process, message)
  catch /^Vim\%((\a\+)\)\=:E\%(630\|631\|906\):/
    # It ended just now; `Ended` comes soon.
  endtry
enddef

def SendRaw(message: dict<any>)
  var body = json_encode(message)
  try
    ch_sendraw(process, $"Content-Length: {strlen(body)}\r\n\r\n{body}")
  catch /^Vim\%((\a\+)\)\=:E\%(630\|631\|906\):/
    # The same.
  endtry
enddef

def Received(_: channel, message: any)
  # Answers that nobody waits for any more come here, too.
  if type(message) == v:t_dict && type(get(message, 'method', 0)) == v:t_string
    OnMessage(message)
  endif
enddef

def Answered(_: channel, message: any)
  if type(message) != v:t_dict || !has_key(open, get(message, 'id', -1))
    return
  endif
  var Callback = remove(open, message.id)
  var error: any = get(message, 'error', null)
  if type(error) == v:t_dict
    var text: any = get(error, 'message', '')
    Callback(type(text) == v:t_string && text != '' ? text : 'ingle-lsp refused it', null)
  else
    Callback('', get(message, 'result', null))
  endif
enddef

def Logged(_: channel, line: string)
  add(log, line)
  if len(log) > LOG_LINES
    remove(log, 0)
  endif
enddef

def Ended(ended: job, status: number)
  if ended != process
    return
  endif
  process = null_job
  open = {}
  OnExit(status)
enddef
