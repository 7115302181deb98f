;;; ingle-eglot.el --- ingle-lsp as a buffer's Eglot server  -*- lexical-binding: t; -*-

;; Copyright (C) 2026 The ingle authors
;; SPDX-License-Identifier: MIT

;;; Commentary:

;; Owns what is needed where a user has made ingle-lsp the Eglot server of
;; a mode, with an entry like this in `eglot-server-programs':
;;
;;     (text-mode . ("ingle-lsp"))
;;
;; Then Eglot starts the server, keeps its copy of the buffers and offers
;; its code actions, and suggestions and chat go over Eglot's connection.
;; Everywhere else, beside whatever server Eglot runs, ingle has its own
;; connection and this file does nothing.
;;
;; Four of Eglot's functions with two dashes are used.  They are the same
;; in Eglot 1.9 (tested), 1.17 of Emacs 30 (tested) and those between.

;;; Code:

(require 'eglot)
(require 'ingle-connection)

(defun ingle-eglot--ours-p (server)
  "Whether SERVER is a process of ingle-lsp."
  (let ((process (jsonrpc--process server)))
    (and (processp process)
         (eq (process-type process) 'real)
         (cl-some (lambda (word) (string-match-p "\\bingle[-_]lsp\\b" word))
                  (process-command process)))))

(cl-defmethod eglot-client-capabilities :around ((server eglot-lsp-server))
  "Add to the capabilities what ingle-lsp needs to know, if SERVER is that."
  (let ((capabilities (cl-call-next-method)))
    (if (not (ingle-eglot--ours-p server))
        capabilities
      (ingle--set-fact server :announced t)
      (let ((document (copy-sequence (plist-get capabilities :textDocument))))
        (plist-put (plist-put (copy-sequence capabilities) :textDocument
                              (plist-put document :inlineCompletion
                                         '(:dynamicRegistration :json-false)))
                   :experimental (list :ingle (ingle--extension)))))))

(defun ingle-eglot-server ()
  "The Eglot server of this buffer, if it is an ingle-lsp that knows us."
  (let ((server (and (eglot-managed-p) (eglot-current-server))))
    (and server
         (ingle--fact server :ready)
         (jsonrpc-running-p server)
         server)))

(defun ingle-eglot-servers ()
  "All Eglot servers that are an ingle-lsp that knows us."
  (let (found)
    (maphash (lambda (connection facts)
               (and (plist-get facts :ready)
                    (jsonrpc-running-p connection)
                    (push connection found)))
             ingle--facts)
    found))

(defun ingle-eglot--connected (server)
  "Take SERVER into service, if it is ours."
  (when (ingle--fact server :announced)
    (ingle--remember-server server (list :capabilities (eglot--capabilities server)
                                         :serverInfo (eglot--server-info server)))
    (ingle--set-fact server :ready t)
    (ingle--send-settings server)
    (run-hooks 'ingle-connected-hook)))

(add-hook 'eglot-connect-hook #'ingle-eglot--connected)

(defun ingle-eglot-sync ()
  "Have Eglot send what has changed in this buffer."
  (eglot--signal-textDocument/didChange))

(defun ingle-eglot-uri ()
  "The URI that Eglot has given this buffer."
  (plist-get (eglot--TextDocumentIdentifier) :uri))

(defun ingle-eglot-version ()
  "The version that the server knows of this buffer."
  (plist-get (eglot--VersionedTextDocumentIdentifier) :version))

(cl-defmethod eglot-handle-notification
  (server (_method (eql ingle/status)) &rest params)
  "Remember the status in PARAMS of SERVER."
  (ingle--notified server 'ingle/status params))

(cl-defmethod eglot-handle-notification
  (server (_method (eql ingle/showMarkdown)) &rest params)
  "Show the explanation in PARAMS of SERVER."
  (ingle--notified server 'ingle/showMarkdown params))

(cl-defmethod eglot-handle-notification
  (server (_method (eql ingle/chat/delta)) &rest params)
  "Show the piece of an answer in PARAMS of SERVER."
  (ingle--notified server 'ingle/chat/delta params))

(provide 'ingle-eglot)
;;; ingle-eglot.el ends here
