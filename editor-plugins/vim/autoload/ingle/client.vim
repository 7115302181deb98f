vim9script

# The session with ingle-lsp: when it is started, the handshake, requests, what the server asks.
#
# Owns one server for all of Vim. Requests may be made before it is ready, they wait; each ends with
# one call of its callback, also when the server dies, unless it was cancelled.

import autoload './chat.vim'
import autoload './config.vim'
import autoload './documents.vim'
import autoload './edits.vim'
import autoload './markdown.vim'
import autoload './notify.vim'
import autoload './positions.vim'
import autoload './process.vim'
import autoload './status.vim'
import autoload './tasks.vim'

# Version of "What plugins need beyond LSP" in lsp/README.md that this plugin is written for.
export const PROTOCOL = 1
export const VERSION = '0.1.0'

# Milliseconds that the server gets to answer for the first time, and to end by itself.
const START_PATIENCE = 60000
const STOP_PATIENCE = 3000

const METHOD_NOT_FOUND = -32601
const INVALID_PARAMS = -32602

# 'stopped', 'starting', 'ready', 'stopping', or 'failed': not again by itself.
var phase = 'stopped'
# Why it failed.
var failure = ''
# What `initialize` was answered; empty until then.
var answer: dict<any> = {}
# Functions that wait for the server to be ready, or to have ended.
var waiting: list<func> = []
var AfterEnd: func = null_function
# Requests without an answer yet: handle → `Callback`, `method`, and its `number`, 0 while it waits.
var open: dict<dict<any>> = {}
var last_handle = 0
var sent_settings: dict<any> = {}
var watchdog = 0

export def IsReady(): bool
  return phase == 'ready'
enddef

# Whether the server may be started by typing: not again after it failed.
export def MayStart(): bool
  return phase != 'failed' && phase != 'stopping'
enddef

# The answer to `initialize`.
export def Answer(): dict<any>
  return answer
enddef

def Section(from: any, name: string): dict<any>
  var found: any = type(from) == v:t_dict ? get(from, name, null) : null
  return type(found) == v:t_dict ? found : {}
enddef

# The version for plugins that the server speaks; 0 for an old one without any.
export def ServerProtocol(): number
  var version: any = answer->Section('capabilities')->Section('experimental')->Section('ingle')
    ->get('version', 0)
  return type(version) == v:t_number ? version : 0
enddef

# What the server calls itself.
export def ServerName(): string
  var info = Section(answer, 'serverInfo')
  return trim($'{get(info, "name", "ingle-lsp")} {get(info, "version", "")}')
enddef

# --- the process -----------------------------------------------------------------------------------

def Capabilities(): dict<any>
  return {
    general: {positionEncodings: positions.ENCODINGS},
    textDocument: {
      synchronization: {didSave: true},
      inlineCompletion: {dynamicRegistration: false},
      codeAction: {
        dataSupport: true,
        disabledSupport: true,
        isPreferredSupport: true,
        resolveSupport: {properties: ['edit']},
        codeActionLiteralSupport: {codeActionKind: {valueSet: ['', 'quickfix', 'refactor']}},
      },
    },
    workspace: {
      applyEdit: true,
      configuration: true,
      didChangeConfiguration: {dynamicRegistration: false},
      workspaceEdit: {
        documentChanges: true,
        resourceOperations: ['create'],
        failureHandling: 'transactional',
      },
    },
    window: {workDoneProgress: true, showDocument: {support: false}},
    experimental: {
      ingle: {
        version: PROTOCOL,
        status: true,
        showMarkdown: true,
        candidates: true,
        startHint: '`:Ingle start`',
      },
    },
  }
enddef

# Start the server if it does not run; returns why that is not possible, or nothing.
export def Start(): string
  if phase == 'starting' || phase == 'ready'
    return ''
  elseif phase == 'stopping'
    return 'the language server is being stopped: try again'
  elseif &encoding != 'utf-8'
    return Failed("needs Vim's 'encoding' to be utf-8: put `set encoding=utf-8` into your vimrc")
  endif
  var command: list<string> = config.Option('cmd')
  if !executable(command[0])
    return Failed($'{command[0]} was not found: `pip install ingle`, or see `:Ingle health`')
  endif
  var problem = process.Start(command, OnMessage, OnExit)
  if problem != ''
    return Failed($'{command[0]} did not start: {problem}')
  endif
  phase = 'starting'
  sent_settings = config.ServerSettings()
  var folder = positions.UriOfPath(getcwd())
  process.Request('initialize', {
    processId: getpid(),
    clientInfo: {name: 'ingle.vim', version: VERSION},
    rootUri: folder,
    workspaceFolders: [{uri: folder, name: fnamemodify(getcwd(), ':t')}],
    capabilities: Capabilities(),
    initializationOptions: sent_settings,
  }, OnInitialized)
  watchdog = timer_start(START_PATIENCE, OnSilence)
  return ''
enddef

def Failed(why: string): string
  phase = 'failed'
  failure = why
  status.Gone(why)
  return why
enddef

def OnInitialized(error: string, result: any)
  timer_stop(watchdog)
  if phase != 'starting'
    return
  elseif error != '' || type(result) != v:t_dict
    phase = 'failed'
    failure = $'the language server did not start: {error}'
    notify.Warn(failure)
    process.Stop(true)
    return
  endif
  answer = result
  positions.SetEncoding(get(Section(answer, 'capabilities'), 'positionEncoding', null))
  process.Notify('initialized', {})
  phase = 'ready'
  CheckVersions()
  var ready = waiting
  waiting = []
  for Callback in ready
    Callback()
  endfor
enddef

def OnSilence(_: number)
  if phase == 'starting'
    notify.Warn($'{config.Option("cmd")[0]} does not answer: see `:Ingle health`')
    Failed('the language server does not answer')
    process.Stop(true)
  endif
enddef

def CheckVersions()
  var theirs = ServerProtocol()
  if theirs == 0
    notify.Warn($'{ServerName()} is too old for chat, changes and status: pip install -U ingle')
  elseif theirs < PROTOCOL
    notify.Warn($'{ServerName()} is older than this plugin: pip install -U ingle')
  endif
enddef

def OnExit(exit_status: number)
  timer_stop(watchdog)
  var was = phase
  answer = {}
  waiting = []
  documents.ForgetAll()
  for handle in keys(open)
    Finish(str2nr(handle), 'ingle-lsp has ended: `:Ingle restart` starts it again', null)
  endfor
  if was == 'stopping'
    phase = 'stopped'
    status.Gone('the language server is stopped')
    if AfterEnd != null_function
      var Next = AfterEnd
      AfterEnd = null_function
      Next()
    endif
  elseif was != 'failed'
    # Not again by itself: whatever ended it may end it again.
    Failed('the language server has ended')
    notify.Warn($'ingle-lsp has ended (exit status {exit_status}): '
      .. '`:Ingle restart` starts it again')
  endif
enddef

# Stop the server, then call a function. A server that hangs is not asked twice.
export def Stop(Then: func = null_function)
  if !process.IsRunning()
    phase = 'stopped'
    if Then != null_function
      Then()
    endif
    return
  endif
  phase = 'stopping'
  AfterEnd = Then
  process.Stop()
  timer_start(STOP_PATIENCE, (_) => {
    if phase == 'stopping' && process.IsRunning()
      process.Stop(true)
    endif
  })
enddef

# Stop it and start it again.
export def Restart()
  Stop(() => {
    var problem = Start()
    if problem != ''
      notify.Warn(problem)
    else
      documents.AttachAll()
    endif
  })
enddef

# Vim ends.
export def Quit()
  if process.IsRunning()
    phase = 'stopping'
    process.Stop()
  endif
enddef

# --- requests --------------------------------------------------------------------------------------

# Call a function as soon as the server is ready, maybe at once. Starts nothing.
export def WhenReady(Callback: func)
  if phase == 'ready'
    Callback()
  else
    add(waiting, Callback)
  endif
enddef

# Ask the server. `Params` may be a function: called when the server is ready, its encoding known.
# `Callback` gets (error, result); an error is one line, or empty. Returns a handle for `Cancel`.
export def Request(method: string, Params: any, Callback: func): number
  last_handle += 1
  var handle = last_handle
  open[handle] = {Callback: Callback, method: method, number: 0}
  var problem = Start()
  if problem != ''
    timer_start(0, (_) => Finish(handle, problem, null))
    return handle
  endif
  WhenReady(() => {
    if has_key(open, handle)
      var params: any = type(Params) == v:t_func ? call(Params, []) : Params
      open[handle].number = process.Request(method, params,
        (error, result) => Finish(handle, error, result))
    endif
  })
  return handle
enddef

# Run one of the server's commands; `Argument` is an object, a function that gives it, or null.
export def Command(
    name: string, Argument: any, Callback: func, token: string = ''): number
  return Request('workspace/executeCommand', () => {
    var argument: any = type(Argument) == v:t_func ? call(Argument, []) : Argument
    var params: dict<any> = {command: name}
    if argument != null
      params.arguments = [argument]
    endif
    if token != ''
      params.workDoneToken = token
    endif
    return params
  }, Callback)
enddef

# Give a request up; its callback is not called.
export def Cancel(handle: number)
  if has_key(open, handle)
    var number: number = remove(open, handle).number
    if number > 0
      process.Cancel(number)
    endif
  endif
enddef

# Whether something is being made that may become a change of a text: the server must know then how
# the text is by now.
export def IsAtWork(): bool
  for request in values(open)
    if request.method != 'textDocument/inlineCompletion'
      return true
    endif
  endfor
  return false
enddef

# Tell the server something, if it is there to hear it.
export def Notify(method: string, params: dict<any>)
  if phase == 'ready'
    process.Notify(method, params)
  endif
enddef

# Tell the server of settings that changed since it was last told.
export def SendSettings()
  var settings = config.ServerSettings()
  if phase == 'ready' && settings != sent_settings
    # What is no longer there has its default again.
    var unset = sent_settings->copy()->filter((name, _) => !has_key(settings, name))
    sent_settings = settings
    process.Notify('workspace/didChangeConfiguration',
      {settings: {ingle: unset->map((_, _) => null)->extend(settings)}})
  endif
enddef

def Finish(handle: number, error: string, result: any)
  if !has_key(open, handle)
    return
  endif
  var Callback: func = remove(open, handle).Callback
  try
    Callback(error, result)
  catch
    notify.Bug(v:exception, v:throwpoint)
  endtry
enddef

# --- what the server asks and tells ----------------------------------------------------------------

def OnMessage(message: dict<any>)
  try
    if has_key(message, 'id')
      OnRequest(message)
    else
      OnNotification(message.method, get(message, 'params', null))
    endif
  catch
    # The server's mistake or ours: what it says is not what we read.
    var what = substitute(v:exception, '^Vim\%((\a\+)\)\=:', '', '')
    if has_key(message, 'id')
      process.Refuse(message.id, INVALID_PARAMS, what)
    endif
    notify.Warn($'ingle-lsp and this plugin do not understand each other: {message.method}: {what}')
  endtry
enddef

def OnRequest(message: dict<any>)
  var params: any = get(message, 'params', null)
  if message.method == 'workspace/applyEdit'
    if type(params) != v:t_dict || type(get(params, 'edit', null)) != v:t_dict
      process.Refuse(message.id, INVALID_PARAMS, 'an edit is missing')
      return
    endif
    var reason = edits.Apply(params.edit)
    var result: dict<any> = {applied: reason == ''}
    if reason != ''
      result.failureReason = reason
    endif
    process.Respond(message.id, result)
  elseif message.method == 'workspace/configuration'
    var items: any = type(params) == v:t_dict ? get(params, 'items', []) : []
    process.Respond(message.id,
      mapnew(items, (_, item) => get(item, 'section', '') == 'ingle' ? sent_settings : null))
  elseif message.method =~ '^\%(client/\%(un\)\=registerCapability\|window/workDoneProgress/create\)$'
    process.Respond(message.id, null)
  else
    process.Refuse(message.id, METHOD_NOT_FOUND, 'not in Vim')
  endif
enddef

def OnNotification(method: string, params: any)
  if type(params) != v:t_dict
    return
  elseif method == 'ingle/status'
    status.Set(params)
  elseif method == 'ingle/chat/delta'
    chat.Delta(params)
  elseif method == '$/progress'
    tasks.Progress(params)
  elseif method == 'ingle/showMarkdown'
    markdown.Show(params.title, params.markdown)
  elseif method == 'window/showMessage'
    if params.type <= 2
      notify.Warn(params.message)
    else
      notify.Info(params.message)
    endif
  endif
enddef
