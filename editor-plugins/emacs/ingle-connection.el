;;; ingle-connection.el --- The way to ingle-lsp  -*- lexical-binding: t; -*-

;; Copyright (C) 2026 The ingle authors
;; SPDX-License-Identifier: MIT

;;; Commentary:

;; Owns the process of ingle-lsp and the conversation with it: start, the
;; handshake, requests with their cancellation, and what the server says by
;; itself.  What is in a document is `ingle-document', what is done with
;; answers the other files' affair.
;;
;; One ingle-lsp serves all buffers of an Emacs, beside whatever language
;; server Eglot or another client runs for them: ingle talks to it over a
;; connection of its own.  A buffer whose Eglot server *is* ingle-lsp uses
;; that one (see `ingle-eglot').  Nothing here ever waits for an answer.

;;; Code:

(require 'cl-lib)
(require 'jsonrpc)
(require 'subr-x)
(require 'ingle-settings)

(autoload 'ingle--apply-workspace-edit "ingle-edits")
(declare-function ingle--uri-buffer "ingle-document")
(declare-function ingle-eglot-server "ingle-eglot")
(declare-function ingle-eglot-servers "ingle-eglot")

(defconst ingle--version "0.1.0"
  "Version of the plugin.")

(defconst ingle--protocol-version 1
  "Version of \"What plugins need beyond LSP\" in lsp/README.md.")

(defconst ingle--quick-death 10
  "Seconds; a server that lives shorter than that is not started again.")

(defvar ingle--own nil
  "Our own connection, from its start to its end.")

(defvar ingle--state 'stopped
  "State of our own connection: `stopped', `starting', `ready' or `failed'.")

(defvar ingle--failure nil
  "Why there is no connection of our own, a line for the user.")

(defvar ingle--last-stderr ""
  "The last lines that ingle-lsp wrote to its log before it ended.")

(defvar ingle--waiting nil
  "Functions to call when our own connection is ready.")

(defvar ingle--starts 0
  "How often ingle-lsp was started; names its buffers.")

(defvar ingle--facts (make-hash-table :test #'eq :weakness 'key)
  "What is known of each connection: a plist.")

(defvar ingle-connected-hook nil
  "Hook run when a connection to ingle-lsp is ready.")

(defvar ingle-disconnected-functions nil
  "Hook run with each connection that has ended.")

(defvar ingle--notification-handlers
  '((window/showMessage . ingle--show-message)
    (window/logMessage . ignore)
    (window/showDocument . ignore)
    ($/progress . ingle--progress)
    (ingle/status . ingle-status--receive)
    (ingle/showMarkdown . ingle-actions--show-markdown)
    (ingle/chat/delta . ingle-chat--receive))
  "Functions for the server's notifications, of a connection and parameters.")

(defun ingle--fact (connection key)
  "What is known of CONNECTION under KEY."
  (plist-get (gethash connection ingle--facts) key))

(defun ingle--set-fact (connection key value)
  "Remember VALUE of CONNECTION under KEY."
  (puthash connection (plist-put (gethash connection ingle--facts) key value)
           ingle--facts))

;;;; Which connection

(defun ingle--eglot-connection ()
  "Eglot's connection of this buffer, if its server is ingle-lsp."
  (and (featurep 'ingle-eglot) (ingle-eglot-server)))

(defun ingle--connection ()
  "The connection that serves this buffer, or nil while there is none."
  (or (ingle--eglot-connection)
      (and (eq ingle--state 'ready) (jsonrpc-running-p ingle--own) ingle--own)))

(defun ingle--connections ()
  "All connections to ingle-lsp that are ready."
  (append (and (eq ingle--state 'ready) (list ingle--own))
          (and (featurep 'ingle-eglot) (ingle-eglot-servers))))

(defun ingle--obtain (function)
  "Call FUNCTION with this buffer's connection, starting one if needed.
If there can be none, the user is told why.  This is for commands: they
try again after a failure."
  (let ((buffer (current-buffer))
        (connection (ingle--connection)))
    (if connection
        (funcall function connection)
      (ingle--when-ready (lambda ()
                           (when (buffer-live-p buffer)
                             (with-current-buffer buffer
                               (funcall function ingle--own)))))
      (ingle--start 'again))))

(defun ingle--when-ready (function)
  "Call FUNCTION when our own connection is ready, if it ever is."
  (push function ingle--waiting))

;;;; Start and end of our own connection

(defun ingle--start (&optional again)
  "Start ingle-lsp if it does not run.
After a failure this does nothing, unless AGAIN."
  (when (or (eq ingle--state 'stopped)
            (and again (eq ingle--state 'failed)))
    (setq ingle--failure nil
          ingle--state 'starting)
    (if (executable-find (car ingle-lsp-command))
        (condition-case problem
            (ingle--handshake (setq ingle--own (ingle--spawn)))
          (error (ingle--failed "%s can't be started: %s" (car ingle-lsp-command)
                                (error-message-string problem))))
      (ingle--failed
       (if (file-name-absolute-p (car ingle-lsp-command))
           "%s is no program: set `ingle-lsp-command' (M-x ingle-doctor tells more)"
         "%s is not on PATH: install ingle with pip, or set `ingle-lsp-command' \
(M-x ingle-doctor tells more)")
       (car ingle-lsp-command)))))

(defun ingle--spawn ()
  "Start the process; return its connection."
  (let* ((name (format "ingle-%d" (cl-incf ingle--starts)))
         (default-directory (expand-file-name "/"))
         (started (float-time))
         (make (lambda (&optional _connection)
                 ;; jsonrpc picks up the buffer of this name for stderr.
                 (make-process :name name
                               :command ingle-lsp-command
                               :connection-type 'pipe
                               :coding 'utf-8-emacs-unix
                               :noquery t
                               :stderr (get-buffer-create
                                        (format "*%s stderr*" name))))))
    (apply #'make-instance 'jsonrpc-process-connection
           :name name
           :process make
           :notification-dispatcher #'ingle--notified
           :request-dispatcher #'ingle--requested
           :on-shutdown (lambda (connection) (ingle--ended connection started))
           ;; No log of the messages: they are the user's source text.
           (if (ingle--new-jsonrpc-p)
               '(:events-buffer-config (:size 0))
             '(:events-buffer-scrollback-size 0)))))

(defun ingle--new-jsonrpc-p ()
  "Whether this is the jsonrpc of Emacs 30 and newer."
  (cl-find '-events-buffer-config (eieio-class-slots 'jsonrpc-connection)
           :key #'eieio-slot-descriptor-name))

(defun ingle--handshake (connection)
  "Say hello on CONNECTION."
  (ingle--request
   connection :initialize
   (list :processId (emacs-pid)
         :clientInfo (list :name "ingle.el" :version ingle--version)
         :rootUri nil
         :capabilities (ingle--client-capabilities)
         :initializationOptions (ingle--server-settings))
   :then (lambda (answer)
           (ingle--remember-server connection answer)
           (jsonrpc-notify connection :initialized (make-hash-table :size 1))
           (setq ingle--state 'ready)
           (run-hooks 'ingle-connected-hook)
           (ingle--serve-waiting))
   :else (lambda (message code)
           ;; When the process has ended, `ingle--ended' knows more.
           (unless (eql code -1)
             (ingle--failed "ingle-lsp refused: %s" message)
             (ingle--stop)))))

(defun ingle--client-capabilities ()
  "What we can do, in the words of LSP."
  (list :general '(:positionEncodings ["utf-32" "utf-16"])
        :workspace '(:applyEdit t
                     :workspaceEdit (:documentChanges t :resourceOperations ["create"]))
        :window '(:workDoneProgress :json-false)
        :textDocument '(:synchronization (:didSave t)
                        :inlineCompletion (:dynamicRegistration :json-false))
        :experimental (list :ingle (ingle--extension))))

(defun ingle--extension ()
  "What we can do beyond LSP."
  (list :version ingle--protocol-version :status t :showMarkdown t :candidates t
        :startHint (ingle--key-of 'ingle-start-daemon)))

(defun ingle--key-of (command)
  "The key of COMMAND, or its name if it has none."
  (let ((key (and (boundp 'ingle-mode-map)
                  (where-is-internal command (symbol-value 'ingle-mode-map) t))))
    (if key (key-description key) (format "M-x %s" command))))

(defun ingle--remember-server (connection answer)
  "Take what ANSWER to `initialize' has about the server of CONNECTION."
  (let* ((capabilities (plist-get answer :capabilities))
         (version (plist-get (plist-get (plist-get capabilities :experimental) :ingle)
                             :version)))
    (ingle--set-fact connection :capabilities capabilities)
    (ingle--set-fact connection :server-info (plist-get answer :serverInfo))
    (ingle--set-fact connection :protocol version)
    (ingle--set-fact connection :utf-32
                     (equal (plist-get capabilities :positionEncoding) "utf-32"))
    (when (or (not version) (< version ingle--protocol-version))
      (ingle--alert "ingle-lsp is older than this plugin: pip install -U ingle"))))

(defun ingle--serve-waiting ()
  "Call all that waited for our own connection, which is ready."
  (let ((waiting (nreverse ingle--waiting)))
    (setq ingle--waiting nil)
    (dolist (function waiting)
      (ingle--guarded (funcall function)))
    (force-mode-line-update t)))

(defun ingle--failed (format &rest arguments)
  "Give up on our own connection, for the reason FORMAT with ARGUMENTS."
  (setq ingle--state 'failed
        ingle--waiting nil
        ingle--failure (apply #'format format arguments))
  (ingle--alert "%s" ingle--failure)
  (force-mode-line-update t))

(defun ingle--ended (connection started)
  "Clean up after CONNECTION, which began at STARTED, has ended."
  (setq ingle--last-stderr (ingle--stderr-tail connection))
  (run-hook-with-args 'ingle-disconnected-functions connection)
  (when (eq connection ingle--own)
    (setq ingle--own nil)
    (cond ((or (eq ingle--state 'starting)
               (< (- (float-time) started) ingle--quick-death))
           (ingle--failed "ingle-lsp ended right away%s (M-x ingle-doctor tells more)"
                          (if (string-empty-p ingle--last-stderr) ""
                            (concat ": " (car (last (split-string ingle--last-stderr
                                                                  "\n")))))))
          ((eq ingle--state 'ready)
           (setq ingle--state 'stopped)
           (ingle--alert "ingle-lsp ended; it starts again when it is needed"))))
  (run-at-time 0 nil #'ingle--kill-buffers connection)
  (force-mode-line-update t))

(defun ingle--stderr-tail (connection)
  "The last lines that the server of CONNECTION logged."
  (let ((buffer (jsonrpc-stderr-buffer connection)))
    (if (not (buffer-live-p buffer))
        ""
      (with-current-buffer buffer
        (let ((lines (cl-remove-if
                      (lambda (line)
                        (string-match-p "\\`\\(Process .* stderr \\|[ \t]*\\'\\)" line))
                      (split-string (buffer-string) "\n"))))
          (string-join (last lines 8) "\n"))))))

(defun ingle--kill-buffers (connection)
  "Kill the buffers that jsonrpc made for CONNECTION."
  (let ((name (jsonrpc-name connection)))
    (dolist (format '("*%s events*" " *%s output*" " *%s stderr*" "*%s stderr*"))
      (let ((buffer (get-buffer (format format name)))
            (kill-buffer-query-functions nil))
        (when buffer (kill-buffer buffer))))))

(defun ingle--stop ()
  "End our own connection; the process is given a few seconds for it."
  (let ((connection ingle--own))
    (setq ingle--own nil)
    (unless (eq ingle--state 'failed)
      (setq ingle--state 'stopped))
    (when (and connection (jsonrpc-running-p connection))
      (let ((end (lambda (&rest _)
                   (when (jsonrpc-running-p connection)
                     (jsonrpc-notify connection :exit nil)))))
        (ingle--request connection :shutdown nil :then end :else end))
      (run-at-time 3 nil (lambda ()
                           (when (jsonrpc-running-p connection)
                             (jsonrpc-shutdown connection)))))))

;;;###autoload
(defun ingle-restart ()
  "Start ingle-lsp again, with the settings of now."
  (interactive)
  (ingle--stop)
  (setq ingle--state 'stopped)
  (ingle--when-ready (lambda () (ingle--say "ingle-lsp runs")))
  (ingle--start 'again))

;;;; Requests

(cl-defun ingle--request (connection method params &key then else always)
  "Send the request METHOD with PARAMS on CONNECTION; return its id.
THEN is called with the result; ELSE with a line for the user and the
error's code.  Without ELSE the line is shown.  Both run in the buffer
that is current now, and not at all when that is gone.  ALWAYS is called
before them, whatever the outcome and wherever."
  (let* ((buffer (current-buffer))
         (within (lambda (function &rest arguments)
                   (when (buffer-live-p buffer)
                     (with-current-buffer buffer
                       (ingle--guarded (apply function arguments))))))
         (fail (lambda (message code)
                 (when always (ingle--guarded (funcall always)))
                 (cond (else (funcall within else message code))
                       ((memq code '(-32800 -1)))
                       (t (ingle--say "%s" message))))))
    (if (not (jsonrpc-running-p connection))
        (progn (funcall fail "ingle-lsp is not running" -1) nil)
      (let ((made (jsonrpc-async-request
                   connection method params
                   :timeout nil
                   :success-fn (lambda (result)
                                 (when always (ingle--guarded (funcall always)))
                                 (when then (funcall within then result)))
                   :error-fn (lambda (failure)
                               (let ((code (plist-get failure :code)))
                                 ;; jsonrpc's own code for a process that has ended.
                                 (funcall fail (or (and (eql code -1) "ingle-lsp ended")
                                                   (plist-get failure :message)
                                                   "it failed")
                                          code))))))
        ;; The number of the request that was just sent: not every jsonrpc tells it.
        (if (consp made) (car made) (jsonrpc--next-request-id connection))))))

(defun ingle--cancel (connection id)
  "Tell CONNECTION that the answer to the request ID is not wanted."
  (when (and id (jsonrpc-running-p connection))
    (jsonrpc-notify connection :$/cancelRequest (list :id id))))

(cl-defun ingle--command (connection name argument &key then else always)
  "Run the server's command NAME with ARGUMENT on CONNECTION; return its id.
THEN, ELSE and ALWAYS as in `ingle--request'."
  (ingle--request connection :workspace/executeCommand
                  (list :command name
                        :arguments (if argument (vector argument) [])
                        :workDoneToken (ingle--progress-token))
                  :then then :else else :always always))

;;;; What the server says

(defun ingle--notified (connection method params)
  "Handle the notification METHOD with PARAMS of CONNECTION."
  (let ((handler (alist-get method ingle--notification-handlers)))
    (when (and handler (fboundp handler))
      (ingle--guarded (funcall handler connection params)))))

(defun ingle--requested (_connection method params)
  "Answer the request METHOD with PARAMS."
  (pcase method
    ('workspace/applyEdit
     (let ((refusal (ingle--apply-workspace-edit (plist-get params :edit))))
       (if refusal
           (list :applied :json-false :failureReason refusal)
         (list :applied t))))
    ('workspace/configuration
     (vconcat (mapcar (lambda (item)
                        (and (equal (plist-get item :section) "ingle")
                             (ingle--server-settings)))
                      (plist-get params :items))))
    ('window/showDocument (list :success (if (ingle--show-document params) t :json-false)))
    ((or 'window/workDoneProgress/create 'client/registerCapability
         'client/unregisterCapability 'workspace/workspaceFolders)
     nil)
    ('window/showMessageRequest (ingle--show-message nil params) nil)
    (_ (jsonrpc-error :code -32601 :message (format "%s is not known here" method)))))

(defun ingle--show-message (_connection params)
  "Show the server's message in PARAMS."
  (ingle--alert "%s" (string-remove-prefix "ingle: " (plist-get params :message))))

(defun ingle--show-document (params)
  "Show the document of PARAMS; return whether it is shown."
  (let ((buffer (ingle--uri-buffer (plist-get params :uri) 'visit)))
    (when buffer
      (display-buffer buffer)
      t)))

(defun ingle--settings-changed ()
  "Send the settings of now to all servers."
  (dolist (connection (ingle--connections))
    (ingle--send-settings connection)))

(defun ingle--send-settings (connection)
  "Send the settings of now on CONNECTION."
  (jsonrpc-notify connection :workspace/didChangeConfiguration
                  (list :settings (list :ingle (ingle--server-settings)))))

;;;; Progress

(defvar ingle--progress-tokens 0
  "Number of the last progress token.")

(defvar ingle--progress-titles (make-hash-table :test #'equal)
  "Titles of the work in progress, by token.")

(defun ingle--progress-token ()
  "A new token."
  (format "ingle.el-%d" (cl-incf ingle--progress-tokens)))

(defun ingle--progress (_connection params)
  "Show how far a command is, as PARAMS say."
  (let* ((token (plist-get params :token))
         (value (plist-get params :value))
         (text (plist-get value :message)))
    (pcase (plist-get value :kind)
      ("begin" (puthash token (plist-get value :title) ingle--progress-titles)
       (ingle--say "%s…" (plist-get value :title)))
      ("report" (when text
                  (ingle--say "%s: %s" (gethash token ingle--progress-titles "working")
                              text)))
      ("end" (remhash token ingle--progress-titles)))))

(provide 'ingle-connection)
;;; ingle-connection.el ends here
